"""Opens sealed items where they come in: a client's input, a stored lineage. What is not sealed costs a glance."""

from collections.abc import Sequence

import msgspec
import structlog
from msgspec import Raw

from landline.session.compaction import open_payload
from landline.session.lineage import Link
from landline.turns.sealing import Sealer
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Compaction, Item, Reasoning, encode_item, is_sealed, typed_item

_CONTENT: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_log = structlog.stdlib.get_logger(__name__)


class Opener:
    """Opens what this server sealed for the same tenant."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def open_input(self, tenant: str, items: tuple[Item, ...]) -> tuple[Item, ...] | ApiError:
        """The items with `opened` set on the sealed ones, or the error that names the one that is not ours.

        Reasoning that another server sealed is passed over: clients play back whatever they were given, and a model is
        none the worse without thoughts of another one.
        """
        if not any(is_sealed(item) for item in items):
            return items
        opened: list[Item] = []
        for index, item in enumerate(items):
            made = self._open(tenant, item) if is_sealed(item) else item
            if made is None:
                return _not_ours(f"input[{index}].encrypted_content")
            opened.append(made)
        return tuple(opened)

    def open_history(self, tenant: str, history: Link | None, *, param: str) -> Link | ApiError | None:
        """The lineage with its sealed items opened; the same one if there is nothing to open. `param` is the field that
        named it."""
        if history is None or not any(is_sealed(item) for link in history.chain() for item in link.items):
            return history
        opened: Link | None = None
        for link in history.chain():
            items = self._open_all(tenant, link.items)
            if items is None:
                return _not_ours(param)
            is_same = link.parent is opened and items == link.items
            opened = link if is_same else Link(opened, items)
        return opened

    def _open_all(self, tenant: str, items: Sequence[Item]) -> tuple[Item, ...] | None:
        opened = [self._open(tenant, item) if is_sealed(item) else item for item in items]
        return tuple(item for item in opened if item is not None) if None not in opened else None

    def _open(self, tenant: str, item: Item) -> Item | None:
        """None if it is a compaction that does not open."""
        value = typed_item(item)
        match value:
            case Compaction(encrypted_content):
                payload = self._sealer.open(tenant, "compaction", encrypted_content)
                opened = open_payload(payload) if payload is not None else None
                if opened is None:
                    return None
                return msgspec.structs.replace(item, opened=opened.items, covers=opened.covers)
            case Reasoning(summary, _, str(encrypted_content)):
                payload = self._sealer.open(tenant, "reasoning", encrypted_content)
                if payload is None:
                    _log.debug("foreign_reasoning_passed_over", item_id=item.id)
                    return item
                plain = encode_item(Reasoning(summary, _CONTENT.decode(payload)))
                return msgspec.structs.replace(item, opened=(plain,))
            case _:
                return item


def _not_ours(param: str) -> ApiError:
    message = (
        f"Expected `encrypted_content` that this server made for this key; what `{param}` names does not open: it was "
        "made elsewhere or for another key, its sealing key is gone, or it was changed."
    )
    return api_error("invalid_encrypted_content", message, param=param)
