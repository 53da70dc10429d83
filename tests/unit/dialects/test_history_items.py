"""What content is, whatever it is declared to be."""

import json
from base64 import b64encode
from typing import Any

import pytest

from landline.dialects.anthropic.transcript import read_attachment as read_for_anthropic
from landline.dialects.chat_completions.transcript import read_attachment as read_for_chat
from landline.dialects.gemini.parts import read_attachment as read_for_gemini
from landline.dialects.history_items import image_type
from landline.wire.errors import ApiError
from landline.wire.items import InputImage

STARTS = {
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "image/jpeg": b"\xff\xd8\xff\xe1\0\x18Exif",
    "image/gif": b"GIF87a\x01\0\x01\0",
    "image/webp": b"RIFF\x1a\0\0\0WEBPVP8L",
    "image/bmp": b"BM\x46\0\0\0\0\0\0\0\x36",
    "image/tiff": b"II*\0\x08\0\0\0",
    "image/avif": b"\0\0\0\x1cftypavif\0\0\0\0",
    "image/heic": b"\0\0\0\x18ftypheic\0\0\0\0",
}


def encoded(kind: str, rest: bytes = b"\0" * 40) -> str:
    return b64encode(STARTS[kind] + rest).decode()


@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize("declared", ["image/png", "image/jpg", "IMAGE/JPEG", "image/webp", ""])
def test_an_image_has_the_type_of_its_bytes(kind: str, declared: str) -> None:
    assert image_type(declared, encoded(kind)) == kind
    assert image_type(declared, encoded(kind, b"")) == kind


@pytest.mark.parametrize(
    "data", ["", "AAAA", "A", "not base64 at all!", "\N{SNOWMAN}" * 9, b64encode(b"<svg/>").decode()]
)
def test_an_image_that_nobody_knows_has_the_type_that_is_declared(data: str) -> None:
    assert image_type("image/PNG", data) == "image/png"
    assert image_type("image/jpg", data) == "image/jpeg"
    assert image_type("image/svg+xml", data) == "image/svg+xml"


def members(part: object) -> dict[str, Any]:
    assert not isinstance(part, ApiError), part
    return json.loads(part) if isinstance(part, bytes) else json.loads(json.dumps(part))


@pytest.mark.parametrize(
    "declared", ["image/png", "image/jpg", "image/gif", "", "application/octet-stream", "text/plain"]
)
def test_every_vendor_is_told_the_type_of_the_bytes(declared: str) -> None:
    image = InputImage(image_url=f"data:{declared};base64,{encoded('image/webp')}")
    source = members(read_for_anthropic(image))["source"]
    assert source == {"type": "base64", "media_type": "image/webp", "data": encoded("image/webp")}
    assert members(read_for_chat(image))["image_url"]["url"] == f"data:image/webp;base64,{encoded('image/webp')}"
    media = read_for_gemini(image)
    assert not isinstance(media, ApiError)
    assert members(media.json)["inlineData"] == {"mimeType": "image/webp", "data": encoded("image/webp")}


def test_an_image_that_the_vendor_cannot_read_is_refused_by_its_true_type() -> None:
    refused = read_for_anthropic(InputImage(image_url=f"data:image/png;base64,{encoded('image/tiff')}"))
    assert isinstance(refused, ApiError)
    assert "'image/tiff'" in refused.message


def test_other_urls_are_sent_as_they_are() -> None:
    for url in ("https://example.org/a.png", "data:image/svg+xml,<svg/>", "data:text/plain;base64,aGk="):
        assert members(read_for_chat(InputImage(image_url=url)))["image_url"]["url"] == url
