"""What Gemini refuses, and what a fake must not let pass: broken histories, unknown members, signatures that are not its own.

Each rule raises `BrokenRequestError`, which becomes a 400 `INVALID_ARGUMENT`. The words are those of the API where they are
known (Gemini API v1beta, November 2026).
"""

import base64
import json
import re
from typing import Any

from google.genai import types
from pydantic import ValidationError

from landline.dialects.gemini.parts import SKIP_CHECK
from support.strict.chat import BrokenRequestError

_NAME = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$")
_MEMBERS = frozenset(
    (
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "generationConfig",
        "safetySettings",
        "serviceTier",
        "model",
    )
)
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_MODES = ("AUTO", "ANY", "NONE", "VALIDATED")
_UNEQUAL = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)
_UNSIGNED = "Function call is missing a thought_signature in functionCall parts."
Content = dict[str, Any]


class Signatures:
    """What the fake signed: calls, by their ids, and texts."""

    def __init__(self) -> None:
        self.of_calls: dict[str, str] = {}
        self.all: set[str] = set()

    def sign(self, call_id: str | None = None) -> str:
        """A new signature, of that call or of a text."""
        signature = base64.b64encode(f"signature {len(self.all)}".encode()).decode()
        self.all.add(signature)
        if call_id is not None:
            self.of_calls[call_id] = signature
        return signature


def check_request(body: dict[str, Any], model: str, signatures: Signatures) -> None:
    """Checks a whole generateContent body. Raises BrokenRequestError."""
    unknown = sorted(set(body) - _MEMBERS)
    _require(not unknown, f'Invalid JSON payload received. Unknown name "{"".join(unknown[:1])}": Cannot find field.')
    names = _check_tools(body.get("tools"))
    _check_config(body, names)
    has_form = "responseMimeType" in body.get("generationConfig", {})
    _require(
        not (names and has_form and model.startswith(("gemini-1", "gemini-2"))),
        "Function calling with a response mime type: 'application/json' is unsupported",
    )
    contents: Any = body.get("contents")
    _require(isinstance(contents, list) and contents, "* GenerateContentRequest.contents: contents is not specified")
    if "systemInstruction" in body:
        _check_content({"role": "user", **body["systemInstruction"]}, "system_instruction")
    check_contents(contents, signatures, needs_signatures=model.startswith(("gemini-3", "gemini-4")))


def check_contents(contents: list[Content], signatures: Signatures, *, needs_signatures: bool) -> None:
    """Checks order and shape of a conversation: contents take turns, calls are answered in the next one, in order."""
    open_calls: list[dict[str, Any]] = []
    for index, content in enumerate(contents):
        where = f"contents[{index}]"
        _check_content(content, where)
        role = "user" if index % 2 == 0 else "model"
        _require(content["role"] == role, f"{where}: expected the role {role!r}, not {content['role']!r}")
        _check_answers(content, open_calls, where)
        open_calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        if content["role"] == "user":
            _require(not open_calls, f"{where}: function call of a user")
        else:
            _check_signatures(content, signatures, where, needs_signatures=needs_signatures)
    _require(contents[-1]["role"] == "user", "the conversation ends with the model")


def _check_content(content: Content, where: str) -> None:
    try:
        types.Content.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise BrokenRequestError(f"Invalid JSON payload received at {where!r}: {error}") from None
    parts = content.get("parts")
    _require(isinstance(parts, list) and parts, f"* {where}.parts: contents.parts must not be empty.")
    for place, part in enumerate(content["parts"]):
        kinds = [kind for kind in _DATA if kind in part]
        _require(
            len(kinds) == 1,
            f"* {where}.parts[{place}].data: required oneof field 'data' must have one initialized field",
        )
        is_empty = part.get("text") == "" and "thoughtSignature" not in part
        _require(
            not is_empty, f"{where}.parts[{place}]: Unable to submit request because it must have a text parameter."
        )


def _check_answers(content: Content, open_calls: list[dict[str, Any]], where: str) -> None:
    answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
    _require(len(answers) == len(open_calls), f"{where}: {_UNEQUAL}")
    first = content["parts"][: len(answers)]
    _require(all("functionResponse" in part for part in first), f"{where}: responses do not come first")
    for call, answer in zip(open_calls, answers, strict=True):
        _require(call["name"] == answer.get("name"), f"{where}: functionResponse.name does not match functionCall.name")
        _require(call.get("id") == answer.get("id"), f"{where}: functionResponse.id does not match functionCall.id")
        _require(isinstance(answer.get("response"), dict), f"{where}: functionResponse.response is no object")


def _check_signatures(content: Content, signatures: Signatures, where: str, *, needs_signatures: bool) -> None:
    is_first_call = True
    for place, part in enumerate(content["parts"]):
        given = part.get("thoughtSignature")
        call = part.get("functionCall")
        if call is None:
            _require(given is None or given in signatures.all, f"{where}.parts[{place}]: Corrupted thought signature.")
            continue
        _require(bool(_NAME.match(call["name"])), f"{where}.parts[{place}]: function name {call['name']!r}")
        issued = signatures.of_calls.get(call.get("id"))
        if needs_signatures and is_first_call:
            told = f"Additional data, function call `default_api:{call['name']}`, position {place}."
            _require(given is not None, f"{_UNSIGNED} {told}")
            _require(given in (issued or SKIP_CHECK,), f"{where}.parts[{place}]: Corrupted thought signature.")
        else:
            _require(given == issued, f"{where}.parts[{place}]: Corrupted thought signature.")
        is_first_call = False


def _check_tools(tools: Any) -> set[str]:
    names: set[str] = set()
    for tool in tools or ():
        try:
            types.Tool.model_validate_json(json.dumps(tool))
        except ValidationError as error:
            raise BrokenRequestError(f"Invalid JSON payload received at 'tools': {error}") from None
        for declaration in tool["functionDeclarations"]:
            name = declaration["name"]
            _require(bool(_NAME.match(name)), f"tools[0].function_declarations.name: [FIELD_INVALID] {name!r}")
            _require(name not in names, f"Duplicate function declaration found: {name}")
            parameters = declaration.get("parametersJsonSchema")
            _require(parameters is None or parameters.get("type") == "object", f"parameters of {name!r} are no object")
            names.add(name)
    return names


def _check_config(body: dict[str, Any], names: set[str]) -> None:
    config = body.get("generationConfig", {})
    try:
        types.GenerateContentConfig.model_validate_json(json.dumps({**config, "toolConfig": body.get("toolConfig")}))
    except ValidationError as error:
        raise BrokenRequestError(f"Invalid JSON payload received at 'generation_config': {error}") from None
    thinking = config.get("thinkingConfig", {})
    has_both = "thinkingLevel" in thinking and "thinkingBudget" in thinking
    _require(not has_both, "You can only set only one of thinking budget and thinking level.")
    _require(
        "responseJsonSchema" not in config or "responseMimeType" in config, "response schema without its mime type"
    )
    calling = body.get("toolConfig", {}).get("functionCallingConfig")
    if calling is not None:
        _require(bool(names), "Function calling config is set without function_declarations.")
        allowed = calling.get("allowedFunctionNames", ())
        _require(calling.get("mode") in _MODES, f"function calling mode {calling.get('mode')!r}")
        _require(not allowed or calling["mode"] in ("ANY", "VALIDATED"), "allowed_function_names with this mode")
        _require(set(allowed) <= names, f"allowed function names {allowed} are not declared")


def _require(holds: object, message: str) -> None:
    if not holds:
        raise BrokenRequestError(message)
