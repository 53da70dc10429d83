"""Google's own client as a judge of generateContent bodies: its types are strict, and what it would send can be compared."""

import base64
import json
from typing import Any

from google import genai
from google.genai import _common, models, types
from pydantic.alias_generators import to_camel

_CLIENT = genai.Client(api_key="test-key")
_TOP_LEVEL = ("tools", "toolConfig", "systemInstruction", "serviceTier", "safetySettings")
_BYTES = ("data", "thoughtSignature")
_FREE = ("args", "response", "parametersJsonSchema", "responseJsonSchema")
"""Members whose own members are anybody's."""


def assert_sdk_sends(body: dict[str, Any], model: str) -> None:
    """The body has nothing that the client's types do not know, and the client would send the same for the same values."""
    config = {**body.get("generationConfig", {}), **{name: body[name] for name in _TOP_LEVEL if name in body}}
    parameters = types._GenerateContentParameters(
        model=model,
        contents=[types.Content.model_validate_json(json.dumps(content)) for content in body["contents"]],
        config=types.GenerateContentConfig.model_validate_json(json.dumps(config)),
    )
    assert set(body) <= {"contents", "generationConfig", *_TOP_LEVEL}
    made = models._GenerateContentParameters_to_mldev(_CLIENT._api_client, parameters, None, parameters)
    sent: Any = _common.encode_unserializable_types(_common.convert_to_dict(made))
    assert sent.pop("_url") == {"model": f"models/{model}"}
    if not sent["generationConfig"]:
        del sent["generationConfig"]
    if "systemInstruction" in sent:
        sent["systemInstruction"].pop("role", None)  # the client adds one that means nothing
    assert _plain(in_camel_case(sent)) == _plain(in_camel_case(body))


def in_camel_case(value: Any, name: str = "") -> Any:
    """The value with its members in one spelling: the API reads both, the client writes both."""
    if isinstance(value, dict) and name not in _FREE:
        return {to_camel(key): in_camel_case(each, to_camel(key)) for key, each in value.items()}
    return [in_camel_case(each) for each in value] if isinstance(value, list) else value


def _plain(value: Any, name: str = "") -> Any:
    """The value with bytes in one spelling: base64 has two alphabets."""
    if isinstance(value, dict):
        return {key: _plain(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if name in _BYTES and isinstance(value, str):
        return base64.urlsafe_b64decode(value.replace("+", "-").replace("/", "_"))
    return value


def read_by_sdk(body: bytes) -> list[types.GenerateContentResponse]:
    """The records of a stream as the client reads them."""
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    records = [json.loads(line.removeprefix(b"data:")) for line in lines if line.startswith(b"data:")]
    read = [models._GenerateContentResponse_from_mldev(record, None, None) for record in records]
    return [types.GenerateContentResponse._from_response(response=each, kwargs={}) for each in read]
