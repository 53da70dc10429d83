"""Whatever a model asks for, nothing outside the folder is read, and nothing it names can hang the agent."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landline.agent.folder import Folder, printable_name
from landline.agent.tools import ToolError


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
