"""Opens sealed items where they come in: a client's input, a stored lineage. What is not sealed costs a glance."""

import msgspec
import structlog

from landline.routing.choice import Wanted
from landline.sealing import Sealer
from landline.session.compaction import open_payload
from landline.session.lineage import Link
from landline.session.turn import Turn
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Compaction, Item, Reasoning, encode_item, is_sealed, typed_item
from landline.wire.responses import SealedReasoning

_SEALED: msgspec.json.Decoder[SealedReasoning] = msgspec.json.Decoder(SealedReasoning)
_log = structlog.stdlib.get_logger(__name__)


class Opener:
    """Opens what this server sealed for the same tenant."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def open_input(self, tenant: str, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """The items with what they say set on the sealed ones.

        What another server sealed stays as it is: clients play back whatever they were given. Whether that matters is a
        question of who will read it (`unreadable`).
        """
        if not any(is_sealed(item) for item in items):
            return items
        return tuple(self._open(tenant, item) if is_sealed(item) else item for item in items)

    def open_history(self, tenant: str, history: Link | None) -> Link | None:
        """The lineage with its sealed items opened; the same one if there is nothing to open."""
        if history is None or not any(is_sealed(item) for link in history.chain() for item in link.items):
            return history
        opened: Link | None = None
        for link in history.chain():
            items = self.open_input(tenant, link.items)
            is_same = link.parent is opened and items == link.items
            opened = link if is_same else Link(opened, items)
        return opened

    def _open(self, tenant: str, item: Item) -> Item:
        value = typed_item(item)
        match value:
            case Compaction(encrypted_content):
                payload = self._sealer.open(tenant, "compaction", encrypted_content)
                opened = open_payload(payload) if payload is not None else None
                if opened is None:
                    return item
                return msgspec.structs.replace(item, opened=opened.items, covers=opened.covers)
            case Reasoning(summary, _, str(encrypted_content)):
                payload = self._sealer.open(tenant, "reasoning", encrypted_content)
                if payload is None:
                    _log.debug("foreign_reasoning_passed_over", item_id=item.id)
                    return item
                sealed = _SEALED.decode(payload)
                if not sealed.content:
                    return msgspec.structs.replace(item, signed=sealed.signed)
                plain = msgspec.structs.replace(encode_item(Reasoning(summary, sealed.content)), signed=sealed.signed)
                return msgspec.structs.replace(item, opened=(plain,), signed=sealed.signed)
            case _:
                return item


def unreadable(turn: Turn) -> ApiError | None:
    """Why no model but one of whoever sealed it can read the turn's history: a compaction that did not open here.

    A model does without the reasoning of another one; a compaction stands for the whole conversation.
    """
    if turn.history is None or not turn.history.shown.is_sealed:
        return None
    for index, item in enumerate(turn.items):
        if item.type == "compaction" and item.opened is None:
            return _not_ours(f"input[{index}].encrypted_content")
    return _not_ours("conversation" if turn.conversation_id is not None else "previous_response_id")


def _not_ours(param: str) -> ApiError:
    message = (
        f"Expected `encrypted_content` that this server made for this key; what `{param}` names does not open: it was "
        "made elsewhere or for another key, its sealing key is gone, or it was changed."
    )
    return api_error("invalid_encrypted_content", message, param=param)


def wanted_by(turn: Turn) -> Wanted:
    """What the turn wants of a target."""
    return Wanted(
        model=turn.request.model,
        tenant=turn.tenant,
        history=turn.history,
        affinity_key=turn.affinity_key,
        unreadable=unreadable(turn),
    )
