"""Parts of a Gemini content: text, media, and the thought signatures that stand on them.

Used by `transcript` for requests and by `answer` for answers. A signature is what Gemini signs of its reasoning and wants
back on the part where it stood: a function call (the first of calls made together), text, a thought, or an empty part at the
end of a streamed answer. It is valid only for the model that made it: another one answers "Corrupted thought signature"
(seen on routes that change models, 2026).
"""

from typing import Literal

import msgspec

from landline.dialects.history_items import Attachment, image_type
from landline.wire.errors import ApiError, api_error
from landline.wire.items import InputFile, InputImage, Item

VENDOR = "gemini"
"""`Signed.by` of these signatures."""
SKIP_CHECK = "skip_thought_signature_validator"
"""In place of the signature of a call that has none, because another vendor's model made it or a client dropped it (Gemini
API, "Thought signatures", FAQ). The server takes it as it stands."""
_INSIDE = frozenset(("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"))
"""What a function response may hold (Gemini API, "Multimodal function responses")."""
_MIME_TYPES = {
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "avi": "video/avi",
    "c": "text/plain",
    "css": "text/css",
    "csv": "text/csv",
    "flac": "audio/flac",
    "flv": "video/x-flv",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "m4a": "audio/m4a",
    "md": "text/markdown",
    "mov": "video/mov",
    "mp3": "audio/mp3",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpg",
    "ogg": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "py": "text/x-python",
    "rtf": "text/rtf",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "wmv": "video/wmv",
    "xml": "text/xml",
}
"""Media type by file extension: Gemini requires one, and a URL or a plain file has none (API reference, file types)."""
_UNTOLD = frozenset(("", "application/octet-stream", "binary/octet-stream"))
"""Types of `data:` URLs that say nothing about the content; Gemini refuses them."""
_URL_SCHEMES = ("https://", "http://", "gs://")
_encode = msgspec.json.Encoder().encode


class Media(msgspec.Struct, frozen=True):
    """A part that is not text."""

    json: bytes
    """The part."""
    fits_inside: bool = False
    """Whether a function response may hold it."""


class _Audio(msgspec.Struct):
    data: str
    format: str = "wav"


class _AudioPart(msgspec.Struct):
    input_audio: _Audio


def text_part(text: str) -> bytes:
    """A part of text."""
    return _encode({"text": text})


def read_attachment(part: Attachment) -> Media | ApiError:
    """An attachment as a part, or the error that names the unsupported kind."""
    if isinstance(part, InputImage):
        return _read_image(part)
    if isinstance(part, InputFile):
        return _read_file(part)
    if part.type == "input_audio":
        try:
            audio = msgspec.json.decode(part.raw, type=_AudioPart).input_audio
        except msgspec.DecodeError:
            return _refused("Expected `input_audio` to hold `data` and `format`.")
        return _inline(f"audio/{audio.format}", audio.data)
    return _refused(f"Content of type {part.type!r} cannot be sent to this model.")


def _read_image(image: InputImage) -> Media | ApiError:
    if image.image_url is not None:
        return _at_url(image.image_url, is_image=True)
    if image.file_id is not None and image.file_id.startswith(_URL_SCHEMES):
        return _at_url(image.file_id)
    return _refused("This model takes images by `image_url`; as `file_id` only the URI of a file that Google stores.")


def _read_file(file: InputFile) -> Media | ApiError:
    if file.file_data is not None and not file.file_data.startswith("data:"):
        mime_type = _mime_type(file.filename or "")
        if mime_type is None:
            return _refused(
                "Expected `file_data` as a `data:` URL, or a `filename` whose ending tells the kind of file."
            )
        return _inline(mime_type, file.file_data)
    url = file.file_data or file.file_url or file.file_id or ""
    if not url.startswith(("data:", *_URL_SCHEMES)):
        return _refused(
            "This model takes files by `file_data` or `file_url`; as `file_id` only the URI of a file that Google stores."
        )
    return _at_url(url, file.filename or "")


def _at_url(url: str, name: str = "", *, is_image: bool = False) -> Media | ApiError:
    """The content of a `data:` URL, or a reference, which Google fetches."""
    if url.startswith("data:"):
        head, _, data = url.partition(",")
        mime_type, *settings = head.removeprefix("data:").split(";")
        if "base64" not in settings:
            return _refused("Expected a `data:` URL in base64.")
        if mime_type.lower() in _UNTOLD:
            mime_type = _mime_type(name) or mime_type
        if is_image or mime_type.lower().startswith("image/"):
            mime_type = image_type(mime_type, data)
        return _inline(mime_type or "application/octet-stream", data)
    reference = {"fileUri": url}
    mime_type = _mime_type(name) or _mime_type(url.partition("?")[0])
    if mime_type is not None:
        reference = {"mimeType": mime_type, **reference}
    return Media(_encode({"fileData": reference}))


def _inline(mime_type: str, data: str) -> Media:
    part = _encode({"inlineData": {"mimeType": mime_type, "data": data}})
    return Media(part, fits_inside=mime_type in _INSIDE)


def _mime_type(name: str) -> str | None:
    return _MIME_TYPES.get(name.rpartition("/")[2].rpartition(".")[2].lower())


def _refused(message: str) -> ApiError:
    return api_error("unsupported_content", message, param="input")


class PartSignature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One signature and the part on which it stood."""

    kind: Literal["call", "text", "thought"]
    signature: str
    model: str
    call_id: str = ""
    """Of a call."""
    start: int = 0
    end: int = 0
    """For text and thoughts: the characters of the signed part within the continuous text."""


_DECODER: msgspec.json.Decoder[PartSignature] = msgspec.json.Decoder(PartSignature)


def encode_signature(block: PartSignature) -> str:
    """The signature as stored in its reasoning item."""
    return msgspec.json.encode(block).decode()


def read_signatures(item: Item, model: str) -> list[PartSignature] | None:
    """The signatures of a reasoning item that this model can use; None if there are none."""
    if item.signed is None or item.signed.by != VENDOR:
        return None
    blocks = [_DECODER.decode(block) for block in item.signed.blocks]
    return [block for block in blocks if block.model == model] or None
