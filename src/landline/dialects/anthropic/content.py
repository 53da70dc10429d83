"""Content as blocks of the Messages API: text, images, documents."""

import re
from base64 import b64decode
from binascii import Error as Base64Error

import msgspec

from landline.dialects.history_items import Attachment, Content, image_type
from landline.wire.errors import ApiError, api_error
from landline.wire.items import InputFile, InputImage, OpaquePart

Block = bytes
"""One content block as a JSON object."""

_encode = msgspec.json.Encoder().encode
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_IMAGE_TYPES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
"""Base64 images that the API reads (Messages reference, November 2026)."""
_PDF_START = "JVBERi"
"""`%PDF` in base64."""
_TEXT_TYPES = re.compile(r"text/.*|application/(?:json|xml|yaml|javascript|x-.*|.*\+(?:json|xml))")


def text_block(text: str) -> Block | None:
    """A text block; None for blank text, which the API refuses."""
    return _encode({"type": "text", "text": text}) if text.strip() else None


def blocks_of(content: Content[Block]) -> list[Block | None]:
    """One block a part, None for a blank one."""
    return [text_block(part) if isinstance(part, str) else part for part in content.parts]


def tool_result(tool_use_id: str, content: Content[Block]) -> Block:
    """The output of a call: a string if there is only text, else blocks."""
    result: dict[str, object] = {"type": "tool_result", "tool_use_id": tool_use_id}
    if content.attachments:
        result["content"] = [msgspec.Raw(block) for block in blocks_of(content) if block is not None]
    elif content.text.strip():
        result["content"] = content.text
    return _encode(result)


def read_attachment(part: Attachment) -> Block | ApiError:
    """An image or file as a block, or the error that says what this API cannot read."""
    match part:
        case InputImage(image_url, file_id):
            return _image_block(image_url, file_id)
        case InputFile():
            return _document_block(part)
        case OpaquePart(type=kind):
            return _refused(f"Content of type {kind!r} cannot be sent to this model.")


def _image_block(image_url: str | None, file_id: str | None) -> Block | ApiError:
    if image_url is None:
        if file_id is None:
            return _refused("Expected an image with `image_url` or `file_id`.")
        return _encode({"type": "image", "source": {"type": "file", "file_id": file_id}})
    data = _DATA_URL.match(image_url)
    if data is None:
        return _encode({"type": "image", "source": {"type": "url", "url": image_url}})
    encoded = image_url[data.end() :]
    media_type = image_type(data[1], encoded) if _is_base64(data) else data[1]
    if media_type not in _IMAGE_TYPES or not _is_base64(data):
        return _refused(
            f"This model reads base64 images of type {', '.join(sorted(_IMAGE_TYPES))}, not {media_type!r}."
        )
    source = {"type": "base64", "media_type": media_type, "data": encoded}
    return _encode({"type": "image", "source": source})


def _document_block(file: InputFile) -> Block | ApiError:
    if file.file_data is not None:
        source = _data_source(file.file_data, file.filename or "")
        if isinstance(source, ApiError):
            return source
    elif file.file_url is not None:
        source = {"type": "url", "url": file.file_url}
    elif file.file_id is not None:
        source = {"type": "file", "file_id": file.file_id}
    else:
        return _refused("Expected a file with `file_data`, `file_url` or `file_id`.")
    block: dict[str, object] = {"type": "document", "source": source}
    if file.filename:
        block["title"] = file.filename
    return _encode(block)


def _data_source(file_data: str, filename: str) -> dict[str, str] | ApiError:
    """A PDF as it is, text as text; `file_data` is a data URL or bare base64."""
    data = _DATA_URL.match(file_data)
    encoded = file_data[data.end() :] if data is not None else file_data
    media_type = data[1].lower() if data is not None else ""
    if media_type == "application/pdf" or encoded.startswith(_PDF_START):
        return {"type": "base64", "media_type": "application/pdf", "data": encoded}
    if media_type and media_type != "application/octet-stream" and _TEXT_TYPES.fullmatch(media_type) is None:
        return _refused(f"This model reads PDF and text files, not {media_type!r}.")
    try:
        text = b64decode(encoded, validate=True).decode()
    except (Base64Error, ValueError):
        return _refused(f"This model reads PDF and text files; {filename or 'this file'!r} is neither.")
    return {"type": "text", "media_type": "text/plain", "data": text}


def _is_base64(data: re.Match[str]) -> bool:
    return "base64" in data[2].lower()


def _refused(message: str) -> ApiError:
    return api_error("unsupported_content", message, param="input")
