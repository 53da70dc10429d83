"""A transcript file: what a scripted target says, turn by turn. The format is told in docs/scripted.md."""

from collections.abc import Container
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw

from landline.wire.errors import ERROR_RULES, ApiError, api_error

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="text"):
    """Says `text`, cut into `deltas` pieces."""

    text: str
    deltas: Positive = 1


class TextDeltas(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="text_deltas"):
    """Says `text` `count` times, one delta each: load at no cost."""

    count: Positive
    text: str = "word "
    batch: Positive = 1
    """Deltas that arrive together, as in one network read."""


class Reasoning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="reasoning"):
    """Thinks `text`, cut into `deltas` pieces."""

    text: str
    deltas: Positive = 1


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="refusal"):
    """Refuses with `text`."""

    text: str
    deltas: Positive = 1


class FunctionCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="function_call"):
    """Calls a function; `arguments` is an object, or a string that is sent as it stands."""

    name: str
    arguments: Raw = Raw(b"{}")
    namespace: str | None = None
    call_id: str | None = None
    deltas: Positive = 1


class CustomToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="custom_tool_call"):
    """Calls a custom tool with free text."""

    name: str
    input: str
    namespace: str | None = None
    call_id: str | None = None
    deltas: Positive = 1


class UsageStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="usage"):
    """Reports token counts."""

    input_tokens: Count
    output_tokens: Count
    cached_tokens: Count = 0
    reasoning_tokens: Count = 0


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="delay"):
    """Waits."""

    ms: Annotated[float, Meta(ge=0)]


class ErrorStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="error"):
    """Ends the turn with an error: by `code` of the error table, or by an HTTP `status`."""

    code: str | None = None
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    message: str = "A scripted error."
    retry_after_s: Annotated[float, Meta(ge=0)] | None = None
    times: Positive | None = None
    """Happens only the first so many times that a conversation comes here; None: always."""


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="cut"):
    """Ends the turn as a connection that broke."""

    times: Positive | None = None


class Finish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="finish"):
    """Ends the turn; needed only to say that it is incomplete."""

    incomplete_reason: Literal["max_output_tokens", "content_filter"] | None = None


Step = (
    Text
    | TextDeltas
    | Reasoning
    | Refusal
    | FunctionCall
    | CustomToolCall
    | UsageStep
    | Delay
    | ErrorStep
    | Cut
    | Finish
)


class Expect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the conversation must look like when the turn begins."""

    last_item: str | None = None
    """The newest item's type."""
    contains: str | None = None
    """Text that the newest item's JSON must hold."""


class ScriptedTurn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model does in one turn."""

    steps: list[Step]
    expect: Expect | None = None


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole transcript."""

    turns: Annotated[list[ScriptedTurn], Meta(min_length=1)]
    after_last: Literal["repeat", "loop", "fail"] = "repeat"
    """Beyond the last turn: `repeat` it, `loop` to the first one, or `fail`."""

    def turn(self, number: int) -> ScriptedTurn | None:
        """The turn that follows `number` turns of the model; None if there is none."""
        if number < len(self.turns):
            return self.turns[number]
        match self.after_last:
            case "repeat":
                return self.turns[-1]
            case "loop":
                return self.turns[number % len(self.turns)]
            case "fail":
                return None


class ScriptError(Exception):
    """A transcript file cannot be read; the message says where and what was expected."""


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a JSON Lines file may say how the script goes on."""

    after_last: Literal["repeat", "loop", "fail"]


_Turn = ScriptedTurn | list[Step]
_Value = TypeVar("_Value")
_SCRIPT: msgspec.json.Decoder[Script] = msgspec.json.Decoder(Script)
_TURN: msgspec.json.Decoder[_Turn] = msgspec.json.Decoder(_Turn)
_TURNS: msgspec.json.Decoder[list[_Turn]] = msgspec.json.Decoder(list[_Turn])
_SETTINGS: msgspec.json.Decoder[_Settings] = msgspec.json.Decoder(_Settings)
_SHAPE: msgspec.json.Decoder[dict[str, Raw] | list[Raw]] = msgspec.json.Decoder(dict[str, Raw] | list[Raw])
_CODE_OF_STATUS = {
    400: "invalid_value",
    401: "upstream_auth_error",
    403: "upstream_auth_error",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    503: "server_is_overloaded",
    529: "server_is_overloaded",
}


def load_script(path: Path) -> Script:
    """Reads and checks a transcript. Raises ScriptError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScriptError(f"{path}: {error.strerror}.") from None
    return decode_script(data, where=str(path))


def decode_script(data: bytes, *, where: str = "transcript") -> Script:
    """A transcript out of JSON (an object or a list of turns) or of JSON Lines (a turn a line). Raises ScriptError."""
    try:
        shape = _SHAPE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        script = _decode_lines(data, where)
    else:
        script = _decode_value(data, shape, where)
    _check_codes(script, where)
    return script


def error_of(step: ErrorStep) -> ApiError:
    """The error that the step ends with."""
    code = step.code or _CODE_OF_STATUS.get(step.status or 500, "upstream_error")
    return api_error(code, step.message, retry_after_s=step.retry_after_s)


def _decode_value(data: bytes, shape: dict[str, Raw] | list[Raw], where: str) -> Script:
    if isinstance(shape, list):
        is_turn = not shape or "type" in _members(shape[0])
        return _script_of([_decode(data, _TURN, where)] if is_turn else _decode(data, _TURNS, where))
    if "steps" in shape:
        return _script_of([_decode(data, _TURN, where)])
    return _decode(data, _SCRIPT, where)


def _decode_lines(data: bytes, where: str) -> Script:
    settings = _Settings(after_last="repeat")
    turns: list[_Turn] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        if not turns and "after_last" in _members(line):
            settings = _decode(line, _SETTINGS, f"{where}, line {number}")
        else:
            turns.append(_decode(line, _TURN, f"{where}, line {number}"))
    if not turns:
        raise ScriptError(f"{where}: expected at least one turn, found none.")
    return _script_of(turns, settings)


def _members(value: bytes | Raw) -> Container[str]:
    """The names of an object's members; none for anything else."""
    try:
        shape = _SHAPE.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return shape if isinstance(shape, dict) else ()


def _script_of(turns: list[_Turn], settings: _Settings | None = None) -> Script:
    made = [ScriptedTurn(steps=turn) if isinstance(turn, list) else turn for turn in turns]
    return Script(turns=made, after_last=settings.after_last if settings is not None else "repeat")


def _decode(data: bytes, decoder: msgspec.json.Decoder[_Value], where: str) -> _Value:
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ScriptError(f"{where}: {error}.") from None


def _check_codes(script: Script, where: str) -> None:
    """Error codes are those of the error table; arguments are JSON that the API can carry."""
    for number, turn in enumerate(script.turns):
        for index, step in enumerate(turn.steps):
            if isinstance(step, ErrorStep) and step.code is not None and step.code not in ERROR_RULES:
                known = ", ".join(sorted(ERROR_RULES))
                place = f"{where}: `$.turns[{number}].steps[{index}].code`"
                raise ScriptError(f"{place}: {step.code!r} is no error code. Expected one of: {known}.")
