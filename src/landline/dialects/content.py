"""Content values: their text, and what else they hold in the form of the dialect that reads them."""

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw

from landline.wire.errors import ApiError
from landline.wire.items import (
    InputFile,
    InputImage,
    InputText,
    OpaquePart,
    OutputText,
    PlainText,
    ReasoningText,
    Refusal,
    SummaryText,
    decode_part,
)

PartT = TypeVar("PartT")
_IMAGE_START_CHARS = 32
"""In base64; the longest of the beginnings below takes twelve bytes."""
_IMAGE_MAGIC = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("image/bmp", re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL)),
    ("image/tiff", re.compile(rb"II\*\0|MM\0\*")),
    ("image/avif", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("image/heic", re.compile(rb"....ftyp(?:heic|heix|hevc|hevx)", re.DOTALL)),
    ("image/heif", re.compile(rb"....ftyp(?:mif1|msf1)", re.DOTALL)),
)
"""How files of these kinds begin (WHATWG MIME Sniffing §6.1, the formats' own specifications)."""
_IMAGE_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
"""Names that are in use and that no vendor takes."""
Attachment = InputImage | InputFile | OpaquePart
AttachmentReader = Callable[[Attachment], PartT | ApiError]
"""A part that is no text as the dialect's own, or the error that names what cannot be said."""


class Content(msgspec.Struct, Generic[PartT], frozen=True):
    """A content value: its parts in order; text parts are plain strings."""

    parts: tuple[str | PartT, ...]

    @property
    def text(self) -> str:
        """All text, parts on lines of their own."""
        return join_lines([part for part in self.parts if isinstance(part, str)])

    @property
    def attachments(self) -> list[PartT]:
        """Images, files and audio."""
        return [part for part in self.parts if not isinstance(part, str)]


def read_content(content: str | list[Raw], read_attachment: AttachmentReader[PartT]) -> Content[PartT] | ApiError:
    """The content of a message or tool output, or the error that names the part that cannot be said."""
    if isinstance(content, str):
        return Content((content,))
    parts: list[str | PartT] = []
    for raw in content:
        match decode_part(raw):
            case InputText(text) | OutputText(text) | PlainText(text) | SummaryText(text) | ReasoningText(text):
                parts.append(text)
            case Refusal(refusal):
                parts.append(refusal)
            case attachment:
                part = read_attachment(attachment)
                if isinstance(part, ApiError):
                    return part
                parts.append(part)
    return Content(tuple(parts))


def image_type(declared: str, data: str) -> str:
    """The media type of an image in base64: the one that its first bytes have, else the declared one.

    Tools declare what they mean to make and uploaders go by a file's name. OpenAI looks at the bytes; vendors that compare
    both refuse the request, and every later one of the conversation.
    """
    try:
        start = b64decode(data[:_IMAGE_START_CHARS])
    except ValueError:
        start = b""
    for kind, magic in _IMAGE_MAGIC:
        if magic.match(start):
            return kind
    declared = declared.lower()
    return _IMAGE_ALIASES.get(declared, declared)


def join_lines(texts: Sequence[str]) -> str:
    """The texts one after the other, with a line break where two would run together."""
    joined = ""
    for text in texts:
        if joined and text and not joined.endswith("\n"):
            joined += "\n"
        joined += text
    return joined
