"""Content parts as chat-completions parts: text, images, files, audio."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from landline.wire.errors import ApiError, api_error
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

ChatPart = dict[str, object] | Raw
"""One chat part as an object, or as the bytes of a kind that both APIs spell alike."""


class Content(msgspec.Struct, frozen=True):
    """A content value: its parts in order; text parts are plain strings."""

    parts: tuple[str | ChatPart, ...]

    @property
    def text(self) -> str:
        """All text, parts on lines of their own."""
        return join_lines([part for part in self.parts if isinstance(part, str)])

    @property
    def attachments(self) -> list[ChatPart]:
        """Images, files and audio."""
        return [part for part in self.parts if not isinstance(part, str)]

    def as_chat(self) -> str | list[ChatPart]:
        """A string if there is only text, which every server takes; else a list of parts."""
        if not self.attachments:
            return self.text
        return [text_part(part) if isinstance(part, str) else part for part in self.parts]


def read_content(content: str | list[Raw]) -> Content | ApiError:
    """The content of a message or tool output, or the error that names the part that cannot be said."""
    if isinstance(content, str):
        return Content((content,))
    parts: list[str | ChatPart] = []
    for raw in content:
        part = _read_part(raw)
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


def text_part(text: str) -> ChatPart:
    return {"type": "text", "text": text}


def _read_part(raw: Raw) -> str | ChatPart | ApiError:
    match decode_part(raw):
        case InputText(text) | OutputText(text) | PlainText(text) | SummaryText(text) | ReasoningText(text):
            return text
        case Refusal(refusal):
            return refusal
        case InputImage() as image:
            return _image_part(image)
        case InputFile() as file:
            return _file_part(file)
        case OpaquePart(type="input_audio", raw=data):
            return Raw(data)
        case OpaquePart(type=kind):
            return api_error("unsupported_content", f"Content of type {kind!r} cannot be sent to this model.")


def _image_part(image: InputImage) -> ChatPart | ApiError:
    if image.image_url is None:
        return api_error("unsupported_content", "This model takes images by `image_url`, not by `file_id`.")
    url: dict[str, object] = {"url": image.image_url}
    if image.detail is not None:
        url["detail"] = "high" if image.detail == "original" else image.detail
    return {"type": "image_url", "image_url": url}


def _file_part(file: InputFile) -> ChatPart | ApiError:
    if file.file_data is None and file.file_id is None:
        return api_error(
            "unsupported_content", "This model takes files by `file_data` or `file_id`, not by `file_url`."
        )
    known = {"filename": file.filename, "file_data": file.file_data, "file_id": file.file_id}
    return {"type": "file", "file": {key: value for key, value in known.items() if value is not None}}
