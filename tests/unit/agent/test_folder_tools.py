"""Tools that read a folder stay inside of it, and their answers are bounded."""

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landline.agent.folder_tools import (
    MAX_LINE_CHARACTERS,
    MAX_SEARCHED_BYTES,
    Folder,
    ToolError,
    ToolOutput,
    encode_tools,
    folder_tools,
    printable_name,
    run_tool,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder `in` beside a secret, with links of every kind in it."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("inside")
    (root / "sub" / "b.txt").write_text("deep inside")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret.txt").write_text("secret")
    (tmp_path / "in-sibling").mkdir()
    (tmp_path / "in-sibling" / "secret.txt").write_text("secret")
    (root / "link-in").symlink_to("sub")
    (root / "link-out").symlink_to(tmp_path / "out")
    (root / "link-up").symlink_to("..")
    (root / "link-secret").symlink_to(tmp_path / "out" / "secret.txt")
    (root / "link-chain").symlink_to("link-out")
    (root / "link-loop").symlink_to("link-loop")
    (root / "link-root").symlink_to(".")
    return root


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../out/secret.txt",
        "sub/../../out",
        "sub/..",
        "sub\\..\\..",
        "/",
        "/etc/passwd",
        "link-out",
        "link-out/secret.txt",
        "link-up",
        "link-up/out/secret.txt",
        "link-secret",
        "link-chain/secret.txt",
        "link-root/link-out/secret.txt",
        "sub/../link-out",
    ],
)
def test_path_that_leads_outside_is_refused(tree: Path, path: str) -> None:
    with pytest.raises(ToolError):
        Folder(tree).resolve(path)


def test_sibling_whose_name_begins_like_the_folder_is_outside(tree: Path) -> None:
    with pytest.raises(ToolError, match="outside"):
        Folder(tree).resolve(str(tree.parent / "in-sibling" / "secret.txt"))


@pytest.mark.parametrize("path", ["a.txt", "./a.txt", "sub//b.txt", "link-in/b.txt", "link-root/link-root/a.txt"])
def test_path_inside_is_read(tree: Path, path: str) -> None:
    with Folder(tree).open(path) as (file, size):
        content = file.read()
    assert content.endswith(b"inside")
    assert size == len(content)


def test_absolute_path_inside_is_read(tree: Path) -> None:
    assert Folder(tree).resolve(str(tree / "a.txt")) == tree / "a.txt"


def test_folder_that_is_a_link_itself_is_followed(tree: Path) -> None:
    link = tree.parent / "link-to-root"
    link.symlink_to(tree)
    assert Folder(link).resolve("a.txt") == tree / "a.txt"


def test_pipe_is_refused_without_waiting_for_a_writer(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(ToolError, match="not a regular file"), Folder(tree).open("pipe"):
        pass


@pytest.mark.parametrize("path", ["sub", "missing", "a.txt/x", "link-loop", "x" * 5000, "nul\0byte", "\udfff"])
def test_what_cannot_be_opened_is_a_tool_error(tree: Path, path: str) -> None:
    with pytest.raises(ToolError), Folder(tree).open(path):
        pass


def test_link_put_in_place_of_a_checked_file_is_not_followed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tree)
    monkeypatch.setattr(folder, "resolve", lambda path: tree / "link-secret")
    with pytest.raises(ToolError), folder.open("a.txt"):
        pass


_SEGMENTS = st.sampled_from(
    [
        "..",
        ".",
        "",
        "sub",
        "a.txt",
        "link-in",
        "link-out",
        "link-up",
        "link-root",
        "link-chain",
        "secret.txt",
        "out",
        "in",
    ]
)
_PATHS = st.one_of(
    st.text(max_size=40),
    st.builds(lambda lead, parts, by: lead + by.join(parts), st.sampled_from(["", "/", "~/"]), st.lists(_SEGMENTS), st.sampled_from(["/", "\\", "//"])),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=_PATHS)
def test_no_path_ever_reaches_outside(tree: Path, path: str) -> None:
    folder = Folder(tree)
    with suppress(ToolError):
        assert Path(os.path.realpath(folder.resolve(path))).is_relative_to(tree)
    with suppress(ToolError), folder.open(path) as (file, _):
        assert b"secret" not in file.read()
    with suppress(ToolError):
        assert "secret.txt" not in [entry.name for entry in folder.scan(path)]


@given(name=st.text(st.characters(), min_size=1).map(lambda name: name + "\udc80\x1b\n"))
def test_file_name_is_shown_as_one_printable_line_of_valid_text(name: str) -> None:
    shown = printable_name(name)
    assert shown.encode().decode().isprintable()


_NOTE_BYTES = 120


def use(root: Path, name: str, *, output_bytes: int = 1000, **arguments: object) -> str:
    output = run_tool(folder_tools(root, output_bytes=output_bytes), name, json.dumps(arguments))
    assert not output.is_error, output.text
    return output.text


def refuse(root: Path, name: str, arguments: str) -> str:
    output = run_tool(folder_tools(root), name, arguments)
    assert output.is_error
    return output.text


def test_ls_tells_folders_files_links_and_sizes_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("four")
    (tmp_path / "a").mkdir()
    (tmp_path / "c").symlink_to("b.txt")
    (tmp_path / "d").symlink_to("/")
    assert use(tmp_path, "ls", path=".") == "a/\nb.txt (4 bytes)\nc -> b.txt\nd -> (outside the folder)"


def test_ls_of_many_entries_says_how_many_are_left(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"file-{number:02}").touch()
    text = use(tmp_path, "ls", path=".", output_bytes=200)
    shown = text.splitlines()[:-1]
    assert text.endswith(f"[{50 - len(shown)} more entries]")
    assert len(text) < 200 + _NOTE_BYTES


def test_ls_of_an_empty_folder_and_of_a_file(tmp_path: Path) -> None:
    assert use(tmp_path, "ls") == "(empty folder)"
    (tmp_path / "f").touch()
    assert "read_file" in refuse(tmp_path, "ls", '{"path":"f"}')


def test_big_file_is_cut_with_a_note_that_leads_on(tmp_path: Path) -> None:
    (tmp_path / "big").write_text("x" * 900 + "y" * 900)
    first = use(tmp_path, "read_file", path="big")
    assert first == "x" * 900 + "y" * 100 + "\n[cut: 1000 of 1800 bytes; go on with offset 1000]"
    assert use(tmp_path, "read_file", path="big", offset=1000) == "y" * 800


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=400), limit=st.integers(8, 90))  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_file_read_in_pieces_is_the_file(tmp_path: Path, text: str, limit: int) -> None:
    (tmp_path / "f").write_bytes(text.encode())
    size = len(text.encode())
    pieces: list[str] = []
    offset = 0
    while offset < size:
        piece = use(tmp_path, "read_file", path="f", offset=offset, output_bytes=limit)
        assert len(piece.encode()) <= limit + _NOTE_BYTES
        body, mark, note = piece.rpartition("\n[cut: ")
        pieces.append(body if mark else piece)
        offset = int(note.split("offset ")[1].rstrip("]")) if mark else size
    assert "".join(pieces) == text


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\x7fELF\0\0", "(binary file, 6 bytes)"), (b"caf\xe9 noir", "(not UTF-8 text, 9 bytes)"), (b"", "(empty file)")],
)
def test_file_without_text_is_named_as_such(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert use(tmp_path, "read_file", path="f") == said


def test_offset_past_the_end_tells_the_size(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1234")
    assert "4 bytes" in refuse(tmp_path, "read_file", '{"path":"f","offset":4}')


def test_grep_finds_lines_in_all_text_files_and_follows_no_link_outside(tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "a.txt").write_text("one\nneedle two\n")
    (root / "sub" / "b.txt").write_text("  a needle in b")
    (root / ".git" / "c").write_text("needle")
    (root / "binary").write_bytes(b"\0needle")
    (tmp_path / "secret").write_text("needle secret")
    (root / "link").symlink_to(tmp_path / "secret")
    assert use(root, "grep", text="needle") == "a.txt:2: needle two\nsub/b.txt:1: a needle in b"
    assert use(root, "grep", text="needle", path="sub/b.txt") == "sub/b.txt:1: a needle in b"


def test_grep_text_is_taken_literally(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a.b\naxb")
    assert use(tmp_path, "grep", text="a.b") == "f:1: a.b"


def test_grep_cuts_long_lines(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("needle" + "x" * 5000)
    assert len(use(tmp_path, "grep", text="needle")) == len("f:1: ") + MAX_LINE_CHARACTERS


def test_grep_says_when_nothing_was_found_and_what_was_passed_over(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"needle " * (MAX_SEARCHED_BYTES // 7 + 1))
    text = use(tmp_path, "grep", text="needle")
    assert text.startswith("no line contains 'needle'")
    assert "1 files over" in text


def test_grep_with_many_matches_is_cut_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("needle\n" * 1000)
    text = use(tmp_path, "grep", text="needle", output_bytes=300)
    assert len(text) < 300 + _NOTE_BYTES
    assert "left out" in text


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ls", "{not json"),
        ("ls", '["."]'),
        ("ls", '{"path": 3}'),
        ("read_file", "{}"),
        ("read_file", '{"path":"f","offset":-1}'),
        ("grep", '{"text":""}'),
        ("grep", '{"text":"x","path":"../.."}'),
        ("rm", '{"path":"f"}'),
    ],
)
def test_call_that_cannot_be_run_is_an_error_the_model_reads(tmp_path: Path, name: str, arguments: str) -> None:
    assert refuse(tmp_path, name, arguments).startswith("error: ")


@given(name=st.sampled_from(["ls", "read_file", "grep", "other"]), arguments=st.text(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_arguments_raise(tmp_path: Path, name: str, arguments: str) -> None:
    assert isinstance(run_tool(folder_tools(tmp_path), name, arguments), ToolOutput)


def test_missing_file_is_answered_with_what_there_is(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"file-{number:02}").touch()
    text = refuse(tmp_path, "read_file", '{"path":"made-up.txt"}')
    assert "file-00, file-01" in text
    assert text.endswith("file-11, …")


def test_read_file_is_described_with_a_file_that_exists(tmp_path: Path) -> None:
    assert folder_tools(tmp_path)["read_file"].description == "Read a file."
    (tmp_path / ".hidden").touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "b.txt").touch()
    assert "'b.txt'" in folder_tools(tmp_path)["read_file"].description


def test_tool_schemas_are_small(tmp_path: Path) -> None:
    assert len(encode_tools(folder_tools(tmp_path))) < 800
