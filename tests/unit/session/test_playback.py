"""What of a lineage is played back, item by item."""

import json
from typing import Any

import pytest

from landline.session.lineage import Link
from landline.session.playback import NOTHING, Playback, Replay, extend_replay, playback_of
from landline.wire.items import Item, decode_item, with_id

MADE = "item_" + "0af" * 16
CALL: dict[str, Any] = {"id": MADE, "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT: dict[str, Any] = {"type": "function_call_output", "call_id": "c", "output": "done"}


def item_of(value: dict[str, Any]) -> Item:
    return decode_item(json.dumps(value, separators=(",", ":")).encode())


def replay_of(*items: Item) -> Replay:
    return extend_replay(NOTHING, items, is_first=True)


def size_of(value: dict[str, Any]) -> int:
    return len(item_of(value).raw)


@pytest.mark.parametrize("call", [CALL | {"status": "completed"}, {"status": "completed"} | CALL, CALL])
def test_id_and_status_of_a_call_are_counted_apart(call: dict[str, Any]) -> None:
    replay = replay_of(item_of(call))
    assert replay.size_bytes == size_of(call)
    without = {name: value for name, value in call.items() if name not in ("id", "status")}
    assert replay.played_bytes(Playback(has_id=False, has_status=False), is_compact=False) == size_of(without)
    assert replay.played_bytes(Playback(has_status=False), is_compact=False) == size_of(CALL)
    assert replay.played_bytes(Playback(), is_compact=False) == size_of(call)


@pytest.mark.parametrize("text", ["", "It is done.", 'a "word"\n'])
def test_a_message_is_announced_with_more_than_some_clients_play_back(text: str) -> None:
    part = {"type": "output_text", "text": text}
    announced: dict[str, Any] = {"id": MADE, "type": "message", "status": "completed", "role": "assistant"}
    announced["content"] = [part | {"annotations": [], "logprobs": []}]
    replay = replay_of(item_of(announced), item_of(OUTPUT))

    def played(client: str) -> int:
        return replay.played_bytes(playback_of(client), is_compact=False) - size_of(OUTPUT)

    assert played("codex_exec/0.169.0") == size_of(announced)
    assert played("ai/7.0.173 ai-sdk") == size_of({"role": "assistant", "content": [part]})
    assert played("pydantic-ai/2.66.0") == size_of({"role": "assistant", "content": text})


def test_a_message_that_the_client_wrote_itself_is_played_back_as_it_is() -> None:
    said = {"type": "message", "role": "assistant", "content": "I said so."}
    assert replay_of(item_of(said)).played_bytes(playback_of("pydantic-ai/2"), is_compact=False) == size_of(said)


@pytest.mark.parametrize(
    "said", [{"type": "reasoning", "summary": []}, {"type": "compaction", "encrypted_content": "x"}]
)
def test_reasoning_and_compactions_keep_their_ids(said: dict[str, Any]) -> None:
    replay = replay_of(item_of({"id": MADE} | said))
    assert replay.played_bytes(playback_of("pydantic-ai/2"), is_compact=False) == size_of({"id": MADE} | said)


def test_an_id_that_the_store_gave_is_not_played_back() -> None:
    assert replay_of(with_id(item_of(OUTPUT), MADE)).size_bytes == size_of(OUTPUT)
    own = OUTPUT | {"id": "fco_of-the-client"}
    assert replay_of(item_of(own)).size_bytes == size_of(own)


def test_a_compaction_stands_for_what_came_before_it() -> None:
    said = Link(None, [item_of({"role": "user", "content": "long " * 1000})])
    compaction = item_of({"type": "compaction", "encrypted_content": "x"})
    lineage = Link(Link(said, [item_of(CALL)]), [compaction, item_of(OUTPUT)])
    assert lineage.replay == Replay(len(compaction.raw) + size_of(OUTPUT), 0, 0, 0, 0, 0, 2)
    given_by_client = Link(None, [*said.items, compaction])
    assert given_by_client.replay == Replay(sum(len(item.raw) for item in given_by_client.items), 0, 0, 0, 0, 0, 2)


def test_what_a_lineage_adds_is_what_its_links_add() -> None:
    items = [
        item_of(CALL | {"status": "completed"}),
        decode_item(json.dumps({"role": "user", "content": "é"}).encode()),
    ]
    assert Link(Link(None, items[:1]), items[1:]).replay == replay_of(*items)
    assert replay_of(*items).played_bytes(Playback(), is_compact=True) == size_of(CALL | {"status": "completed"}) + len(
        '{"role":"user","content":"é"}'.encode()
    )


def test_clients_are_known_by_the_beginning_of_their_user_agent() -> None:
    assert playback_of("opencode/1.18.33 (linux; x64) ai-sdk") == Playback(
        has_id=False, has_status=False, message="part"
    )
    assert playback_of("Agents/Python 0.24.0") == Playback(is_compact=True)
    assert playback_of("not pydantic-ai/2.66.0") == playback_of("") == Playback()
