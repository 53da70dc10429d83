"""Content parts as chat-completions parts: text, images, files, audio."""

import re

from msgspec import Raw

from landline.dialects.history_items import Attachment, Content, image_type
from landline.wire.errors import ApiError, api_error
from landline.wire.items import InputFile, InputImage, OpaquePart

_IMAGE_DATA_URL = re.compile(r"data:([^;,]*)[^,]*;base64,", re.IGNORECASE)
ChatPart = dict[str, object] | Raw
"""One chat part as an object, or as the bytes of a kind that both APIs spell alike."""


def as_chat(content: Content[ChatPart]) -> str | list[ChatPart]:
    """A string if there is only text, which every server takes; else a list of parts."""
    if not content.attachments:
        return content.text
    return [text_part(part) if isinstance(part, str) else part for part in content.parts]


def text_part(text: str) -> ChatPart:
    return {"type": "text", "text": text}


def read_attachment(part: Attachment) -> ChatPart | ApiError:
    """A part that is no text."""
    match part:
        case InputImage():
            return _image_part(part)
        case InputFile():
            return _file_part(part)
        case OpaquePart(type="input_audio", raw=data):
            return Raw(data)
        case OpaquePart(type=kind):
            return api_error("unsupported_content", f"Content of type {kind!r} cannot be sent to this model.")


def _image_part(image: InputImage) -> ChatPart | ApiError:
    if image.image_url is None:
        return api_error("unsupported_content", "This model takes images by `image_url`, not by `file_id`.")
    url: dict[str, object] = {"url": _with_true_type(image.image_url)}
    if image.detail is not None:
        url["detail"] = "high" if image.detail == "original" else image.detail
    return {"type": "image_url", "image_url": url}


def _with_true_type(url: str) -> str:
    """The image's URL; a `data:` URL in base64 under the type that its bytes have."""
    found = _IMAGE_DATA_URL.match(url)
    if found is None:
        return url
    media_type = image_type(found[1], url[found.end() :])
    return url if media_type == found[1] else f"data:{media_type}{url[found.end(1) :]}"


def _file_part(file: InputFile) -> ChatPart | ApiError:
    if file.file_data is None and file.file_id is None:
        return api_error(
            "unsupported_content", "This model takes files by `file_data` or `file_id`, not by `file_url`."
        )
    known = {"filename": file.filename, "file_data": file.file_data, "file_id": file.file_id}
    return {"type": "file", "file": {key: value for key, value in known.items() if value is not None}}
