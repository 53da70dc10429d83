"""What the model says between two contents of the user: its parts with their signatures, and the answers to its calls."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Raw

from landline.dialects.gemini.content import Media, text_part
from landline.dialects.gemini.families import Family
from landline.dialects.gemini.signatures import SKIP_CHECK, Block
from landline.dialects.gemini.tools import function_name
from landline.dialects.history_calls import OpenCalls
from landline.dialects.history_items import Called

_encode = msgspec.json.Encoder().encode


class Text(msgspec.Struct, frozen=True):
    """One message of the model's; `blocks` say which of its text was signed."""

    text: str
    blocks: tuple[Block, ...] = ()
    is_thought: bool = False


def _no_calls() -> OpenCalls[Media]:
    return OpenCalls()


class ModelTurn(msgspec.Struct):
    """The newest content of the model's, still open."""

    said: list[Text | Called] = []
    signatures: dict[str, str] = {}
    """Of calls, by their ids."""
    open_calls: OpenCalls[Media] = msgspec.field(default_factory=_no_calls)
    """By their places in `said`."""
    held: list[bytes] = []
    """Parts of the user's that came while calls were unanswered."""

    @property
    def is_over(self) -> bool:
        """Whether the user has spoken since: what the model says next is another content."""
        return bool(self.open_calls.outputs or self.held)

    def copy(self) -> "ModelTurn":
        """One that can be added to without changing this one."""
        return ModelTurn(list(self.said), dict(self.signatures), self.open_calls.copy(), list(self.held))

    def say(self, said: Text | Called) -> None:
        """Adds what the model said next."""
        if isinstance(said, Called):
            self.open_calls.add(said.call_id, len(self.said))
        self.said.append(said)

    def sign(self, blocks: Sequence[Block], thought: str) -> None:
        """Adds what was signed: of calls to come, of the text before, of this thought."""
        for block in blocks:
            last = self.said[-1] if self.said else None
            if block.kind == "call":
                self.signatures[block.call_id] = block.signature
            elif block.kind == "text" and isinstance(last, Text) and not last.is_thought:
                self.said[-1] = msgspec.structs.replace(last, blocks=(*last.blocks, block))
            elif block.kind == "text":
                self.said.append(Text("", (block,)))
            else:
                self.said.append(Text(thought[block.start : block.end], (block,), is_thought=True))


def model_parts(turn: ModelTurn, family: Family, *, has_call_ids: bool) -> list[bytes]:
    """The parts of the model's content.

    Calls made together have one signature, on the first; a model that demands one gets the value that skips the check where
    there is none. It stays there for good, so that the start of the prompt does not change when the user speaks again.
    """
    parts: list[bytes] = []
    is_first_call = True
    for each in turn.said:
        if isinstance(each, Text):
            parts += _thought_part(each) if each.is_thought else _text_parts(each)
            continue
        signature = turn.signatures.get(each.call_id)
        if signature is None and is_first_call and family.needs_signatures:
            signature = SKIP_CHECK
        parts.append(_call_part(each, signature, has_call_ids=has_call_ids))
        is_first_call = False
    return parts


def answer_parts(turn: ModelTurn, family: Family, *, has_call_ids: bool) -> list[bytes]:
    """The parts of the user's content that answers the calls, in their order, then what had to wait for them."""
    responses: list[bytes] = []
    attached: list[bytes] = []
    for place, call in enumerate(turn.said):
        if isinstance(call, Text):
            continue
        answer = turn.open_calls.output(place)
        media = answer.attachments
        inside = [Raw(each.json) for each in media if each.fits_inside and family.takes_media_inside]
        after = [each.json for each in media if not (each.fits_inside and family.takes_media_inside)]
        response: dict[str, object] = {"id": call.call_id} if has_call_ids else {}
        response |= {"name": function_name(call.name), "response": {"output": answer.text}}
        if inside:
            response["parts"] = inside
        responses.append(_encode({"functionResponse": response}))
        if after:
            attached += [text_part(f"Attached to the output of {call.call_id}:"), *after]
    return [*responses, *attached, *turn.held]


def _call_part(call: Called, signature: str | None, *, has_call_ids: bool) -> bytes:
    function: dict[str, object] = {"id": call.call_id} if has_call_ids else {}
    function |= {"name": function_name(call.name), "args": Raw(call.arguments.encode())}
    return _encode({"functionCall": function} | _signed(signature))


def _thought_part(said: Text) -> Iterator[bytes]:
    for block in said.blocks:
        yield _encode({"text": said.text, "thought": True} | _signed(block.signature))


def _text_parts(said: Text) -> Iterator[bytes]:
    """The text cut where it was signed: a signed part must not be joined with another one."""
    position = 0
    for block in said.blocks:
        start = min(max(block.start, position), len(said.text))
        if start > position:
            yield text_part(said.text[position:start])
        position = max(start, min(block.end, len(said.text)))
        yield _encode({"text": said.text[start:position]} | _signed(block.signature))
    if position < len(said.text):
        yield text_part(said.text[position:])


def _signed(signature: str | None) -> dict[str, object]:
    return {"thoughtSignature": signature} if signature is not None else {}
