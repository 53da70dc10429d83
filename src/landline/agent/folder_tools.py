"""Local tools: what the model is told about each and the function that runs it; and the three that read one folder, `ls`,
`read_file` and `grep`, each with a bounded answer. Every path is resolved and kept inside the folder.
"""

import os
import re
import stat
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec


class ToolError(Exception):
    """A tool cannot do what was asked; the model gets the message and may correct its call."""


class LocalTool(msgspec.Struct, frozen=True):
    """One function tool. `run` gets the call's arguments as JSON text and returns what the model will read.

    `run` may raise `ToolError`, or msgspec.DecodeError for arguments that do not fit; it is called in a worker thread.
    """

    name: str
    description: str
    parameters: Mapping[str, object]
    """JSON Schema of the arguments; small models read every word of it, so keep it short."""
    run: Callable[[str], str]


class ToolOutput(msgspec.Struct, frozen=True):
    """What one call gave."""

    text: str
    is_error: bool = False


def run_tool(tools: Mapping[str, LocalTool], name: str, arguments: str) -> ToolOutput:
    """Runs one call; an unknown tool, malformed arguments and a refusal come back as an error for the model to read."""
    tool = tools.get(name)
    if tool is None:
        return ToolOutput(f"error: no tool {name[:64]!r}; there are: {', '.join(sorted(tools))}", is_error=True)
    try:
        return ToolOutput(tool.run(arguments or "{}"))
    except msgspec.DecodeError as error:
        return ToolOutput(f"error: malformed arguments: {error}", is_error=True)
    except ToolError as error:
        return ToolOutput(f"error: {error}", is_error=True)


def encode_tools(tools: Mapping[str, LocalTool]) -> bytes:
    """The `tools` array of a request. `strict` is off: strict mode asks for every property to be required."""
    return msgspec.json.encode(
        [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": False,
            }
            for tool in tools.values()
        ]
    )


_SEPARATORS = re.compile(r"[/\\]")
_MAX_HINTED_NAMES = 12
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""The path is resolved before it is opened, so a link there now was put there since; a pipe must not block."""


class Folder:
    """A root folder and the only ways to get from a model's path to a file in it."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def resolve(self, path: str) -> Path:
        """The real path of what `path` names, which need not exist.

        Raises ToolError for `..`, for an absolute path outside and for a link that leads outside.
        """
        if ".." in _SEPARATORS.split(path):
            raise ToolError(f"`..` is not allowed in {path!r}; give a path inside the folder")
        try:
            real = Path(os.path.realpath(self.root / path))
        except (ValueError, OSError) as error:
            raise ToolError(f"{path!r} is not a path") from error
        if real != self.root and self.root not in real.parents:
            raise ToolError(f"{path!r} is outside the folder; give a path inside it, such as '.'")
        return real

    def name(self, path: Path) -> str:
        """How the model knows a resolved path: relative, with `/`, and printable whatever bytes the name has."""
        return printable_name(path.relative_to(self.root).as_posix())

    @contextmanager
    def open(self, path: str) -> Generator[tuple[BinaryIO, int]]:
        """A regular file inside the folder and its size in bytes; raises ToolError for anything else."""
        descriptor = self._open_regular(path)
        with os.fdopen(descriptor, "rb") as file:
            yield file, os.fstat(descriptor).st_size

    def scan(self, path: str) -> list[os.DirEntry[str]]:
        """The entries of a folder inside the folder, by name; raises ToolError if it is none."""
        real = self.resolve(path)
        try:
            with os.scandir(real) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except NotADirectoryError as error:
            raise ToolError(f"{path!r} is a file; read it with read_file") from error
        except (OSError, ValueError) as error:
            raise ToolError(self._reason(path, error)) from error

    def _open_regular(self, path: str) -> int:
        real = self.resolve(path)
        try:
            descriptor = os.open(real, _OPEN_FLAGS)
        except (OSError, ValueError) as error:
            raise ToolError(self._reason(path, error)) from error
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return descriptor
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise ToolError(f"{path!r} is a folder; list it with ls")
        raise ToolError(f"{path!r} is not a regular file")

    def _reason(self, path: str, error: Exception) -> str:
        """Why a path cannot be read; small models make names up, so what there is comes with it."""
        if isinstance(error, FileNotFoundError):
            names = [printable_name(name) for name in sorted(os.listdir(self.root))]
            more = ", …" if len(names) > _MAX_HINTED_NAMES else ""
            return f"there is no {path!r}; the folder holds: {', '.join(names[:_MAX_HINTED_NAMES])}{more}"
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not readable"
        return f"{path!r}: {why}"


def printable_name(name: str) -> str:
    """A file name as valid text on one line: bytes that are no UTF-8 and control characters are shown as escapes."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


DEFAULT_OUTPUT_BYTES = 3000
"""Some 1,000 tokens of source text: three files and the question still fit a context of 4,096."""
MAX_SEARCHED_FILES = 2000
MAX_SEARCHED_BYTES = 1_000_000
"""Larger files are not searched by grep; its output says so."""
MAX_LINE_CHARACTERS = 200
_SNIFFED_BYTES = 8192

_Path = Annotated[str, msgspec.Meta(max_length=4096)]


class LsArguments(msgspec.Struct, frozen=True):
    path: _Path = "."


class ReadFileArguments(msgspec.Struct, frozen=True):
    path: _Path
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bytes to skip."""


class GrepArguments(msgspec.Struct, frozen=True):
    text: Annotated[str, msgspec.Meta(min_length=1)]
    path: _Path = "."


_LS_DECODER: msgspec.json.Decoder[LsArguments] = msgspec.json.Decoder(LsArguments)
_READ_FILE_DECODER: msgspec.json.Decoder[ReadFileArguments] = msgspec.json.Decoder(ReadFileArguments)
_GREP_DECODER: msgspec.json.Decoder[GrepArguments] = msgspec.json.Decoder(GrepArguments)

_PATH_SCHEMA = {"type": "string"}


def folder_tools(root: Path, *, output_bytes: int = DEFAULT_OUTPUT_BYTES) -> dict[str, LocalTool]:
    """The registry of tools over one folder; no answer is much longer than `output_bytes` (a closing note comes on top)."""
    folder = Folder(root)
    tools = (
        LocalTool(
            "ls",
            "List a folder; path '.' is the whole folder.",
            {"type": "object", "properties": {"path": _PATH_SCHEMA}, "required": ["path"]},
            lambda arguments: ls(folder, _LS_DECODER.decode(arguments), output_bytes=output_bytes),
        ),
        LocalTool(
            "read_file",
            _describe_read_file(folder),
            {
                "type": "object",
                "properties": {"path": _PATH_SCHEMA, "offset": {"type": "integer"}},
                "required": ["path"],
            },
            lambda arguments: read_file(folder, _READ_FILE_DECODER.decode(arguments), output_bytes=output_bytes),
        ),
        LocalTool(
            "grep",
            "Find lines that contain a text (no regex).",
            {
                "type": "object",
                "properties": {"text": {"type": "string"}, "path": _PATH_SCHEMA},
                "required": ["text"],
            },
            lambda arguments: grep(folder, _GREP_DECODER.decode(arguments), output_bytes=output_bytes),
        ),
    )
    return {tool.name: tool for tool in tools}


def _describe_read_file(folder: Folder) -> str:
    """With a name that exists: small models otherwise make one up.

    Of 36 runs of the 135M model none named a real file without it, of 14 with it 10 did (2026-11-22).
    """
    files = (entry.name for entry in folder.scan(".") if entry.is_file(follow_symlinks=False))
    example = next((name for name in files if not name.startswith(".")), None)
    return "Read a file." if example is None else f"Read a file, such as path {printable_name(example)!r}."


def ls(folder: Folder, arguments: LsArguments, *, output_bytes: int) -> str:
    """One line an entry: `name/` for a folder, `name (size)` for a file, `name -> …` for a link."""
    entries = folder.scan(arguments.path)
    if not entries:
        return "(empty folder)"
    return _join_bounded((_describe(folder, entry) for entry in entries), output_bytes=output_bytes, count=len(entries))


def read_file(folder: Folder, arguments: ReadFileArguments, *, output_bytes: int) -> str:
    """A text file's content from `offset`, cut with a note that says where to go on; a binary file is only named."""
    with folder.open(arguments.path) as (file, size):
        if size == 0:
            return "(empty file)"
        if arguments.offset >= size:
            raise ToolError(f"`offset` {arguments.offset} is past the end: the file has {size} bytes")
        if _is_binary(file):
            return f"(binary file, {size} bytes)"
        file.seek(arguments.offset)
        chunk = file.read(output_bytes)
    text, used = _decode_whole_characters(chunk)
    if text is None:
        return f"(not UTF-8 text, {size} bytes)"
    end = arguments.offset + used
    return text if end >= size else f"{text}\n[cut: {end} of {size} bytes; go on with offset {end}]"


def grep(folder: Folder, arguments: GrepArguments, *, output_bytes: int) -> str:
    """`path:line: text` for every line that contains the text; hidden folders and big or binary files are passed over."""
    search = _Search(folder, arguments.text)
    lines = list(_take_bytes(search.matches(arguments.path), output_bytes))
    notes = search.notes()
    if search.is_cut:
        notes.append("more matches were left out; search for something rarer or in one folder")
    text = "\n".join(lines) if lines else f"no line contains {arguments.text!r}"
    return text + "".join(f"\n[{note}]" for note in notes)


class _Search:
    """One search through files, remembering what it passed over."""

    def __init__(self, folder: Folder, text: str) -> None:
        self._folder = folder
        self._needle = text.encode("utf-8", "surrogatepass")
        self._big_files = 0
        self._is_stopped = False
        self.is_cut = True
        """True until all matches were taken."""

    def matches(self, path: str) -> Iterator[str]:
        for searched, name in enumerate(self._file_names(path)):
            if searched == MAX_SEARCHED_FILES:
                self._is_stopped = True
                break
            yield from self._matches_in(name)
        self.is_cut = False

    def notes(self) -> list[str]:
        notes: list[str] = []
        if self._is_stopped:
            notes.append(f"stopped after {MAX_SEARCHED_FILES} files")
        if self._big_files:
            notes.append(f"{self._big_files} files over {MAX_SEARCHED_BYTES} bytes not searched")
        return notes

    def _file_names(self, path: str) -> Iterator[str]:
        """Paths relative to the root; `os.walk` does not follow links to folders."""
        real = self._folder.resolve(path)
        if not real.is_dir():
            with self._folder.open(path):
                yield real.relative_to(self._folder.root).as_posix()
            return
        for parent, folders, files in os.walk(real):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                yield (Path(parent) / name).relative_to(self._folder.root).as_posix()

    def _matches_in(self, name: str) -> Iterator[str]:
        try:
            with self._folder.open(name) as (file, size):
                if size > MAX_SEARCHED_BYTES:
                    self._big_files += 1
                    return
                content = file.read()
        except ToolError:
            return
        if self._needle not in content or b"\0" in content[:_SNIFFED_BYTES]:
            return
        for number, line in enumerate(content.splitlines(), start=1):
            if self._needle in line:
                text = line.decode("utf-8", "replace").strip()[:MAX_LINE_CHARACTERS]
                yield f"{printable_name(name)}:{number}: {text}"


def _describe(folder: Folder, entry: os.DirEntry[str]) -> str:
    name = printable_name(entry.name)
    try:
        if entry.is_symlink():
            return f"{name} -> {_describe_target(folder, entry)}"
        if entry.is_dir():
            return f"{name}/"
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return f"{name} (unreadable)"
    return f"{name} ({status.st_size} bytes)" if stat.S_ISREG(status.st_mode) else f"{name} (not a regular file)"


def _describe_target(folder: Folder, entry: os.DirEntry[str]) -> str:
    try:
        return folder.name(folder.resolve(entry.path))
    except ToolError:
        return "(outside the folder)"


def _join_bounded(lines: Iterator[str], *, output_bytes: int, count: int) -> str:
    taken = list(_take_bytes(lines, output_bytes))
    left = count - len(taken)
    return "\n".join(taken) + (f"\n[{left} more entries]" if left else "")


def _take_bytes(lines: Iterator[str], output_bytes: int) -> Iterator[str]:
    """Lines as long as they fit; the first one always, so that a small limit still gives something."""
    used = 0
    for line in lines:
        size = len(line.encode()) + 1
        if used and used + size > output_bytes:
            return
        used += size
        yield line


def _is_binary(file: BinaryIO) -> bool:
    return b"\0" in file.read(_SNIFFED_BYTES)


def _decode_whole_characters(chunk: bytes) -> tuple[str | None, int]:
    """The chunk's text without the characters cut at its ends, and how far it got; None if it is not UTF-8."""
    start = next((index for index, byte in enumerate(chunk[:4]) if byte & 0xC0 != 0x80), 0)
    for end in range(len(chunk), max(start, len(chunk) - 4), -1):
        try:
            return chunk[start:end].decode(), end
        except UnicodeDecodeError:
            continue
    return None, 0
