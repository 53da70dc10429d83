"""What the model reads of a folder: whole where it fits, cut with a note where not, never a binary."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landline.agent.folder_tools import MAX_LINE_CHARACTERS, MAX_SEARCHED_BYTES, folder_tools
from landline.agent.tools import ToolOutput, encode_tools, run_tool

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
