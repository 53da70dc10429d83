"""Content values: their text, and what else they hold in the form of the dialect that reads them."""

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


def join_lines(texts: Sequence[str]) -> str:
    """The texts one after the other, with a line break where two would run together."""
    joined = ""
    for text in texts:
        if joined and text and not joined.endswith("\n"):
            joined += "\n"
        joined += text
    return joined
