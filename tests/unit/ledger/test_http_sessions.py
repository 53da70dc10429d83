"""Which turns over HTTP are one session."""

import itertools
import json
from collections.abc import Sequence

import msgspec
import pytest

from landline.ledger.http_sessions import HttpSessions
from landline.session.lineage import Link
from landline.session.turn import Turn
from landline.wire.items import Item, decode_item
from landline.wire.requests import CreateRequest

QUESTION = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}
OTHER = {"role": "assistant", "content": "something else"}


def item(fields: dict[str, str]) -> Item:
    return decode_item(json.dumps(fields).encode())


def turn(history: Link | None, own: Sequence[Item] = (), **fields: str) -> Turn:
    made = Turn("resp_1", CreateRequest(), history, created_at=0.0, items=tuple(own))
    return msgspec.structs.replace(made, **fields)


def sessions(**settings: int) -> HttpSessions:
    ids = itertools.count()
    return HttpSessions(lambda prefix: f"{prefix}_{next(ids)}", **settings)  # type: ignore[arg-type]


def asked(*fields: dict[str, str], parent: Link | None = None) -> Turn:
    own = [item(each) for each in fields]
    return turn(Link(parent, own), own)


def test_what_continues_a_lineage_is_its_session() -> None:
    book = sessions()
    first = asked(QUESTION)
    name = book.name(first)
    answered = Link(first.history, [item(ANSWER)])
    book.remember("", answered, name)
    assert book.name(asked(QUESTION, parent=answered)) == name
    assert book.name(turn(answered)) == name, "no new input"
    assert book.name(turn(Link(Link(None, [item(QUESTION), item(ANSWER)]), [item(QUESTION)]), [item(QUESTION)])) == name
    assert book.name(asked(QUESTION)) != name, "the same task again is another agent"


def test_a_forked_conversation_stays_one_session() -> None:
    book = sessions()
    first = asked(QUESTION)
    name = book.name(first)
    answered = Link(first.history, [item(ANSWER)])
    book.remember("", answered, name)
    left = asked(QUESTION, parent=answered)
    book.remember("", Link(left.history, [item(ANSWER)]), book.name(left))
    assert book.name(asked(OTHER, parent=answered)) == name


def test_a_history_played_back_otherwise_belongs_where_it_began() -> None:
    book = sessions()
    name = book.name(asked(QUESTION))
    assert book.name(asked(QUESTION, OTHER, QUESTION)) == name
    assert book.name(asked({"role": "user", "content": "another"}, OTHER)) != name


def test_a_conversation_names_its_session() -> None:
    assert sessions().name(turn(None, conversation_id="conv_1")) == "conv_1"


def test_tenants_never_share_a_session() -> None:
    book = sessions()
    name = book.name(asked(QUESTION))
    foreign = msgspec.structs.replace(asked(QUESTION, ANSWER), tenant="other")
    assert book.name(foreign) != name


@pytest.mark.parametrize("knows_lineages", [True, False])
def test_without_digests_only_beginnings_tell(knows_lineages: bool) -> None:
    book = sessions(knows_lineages=knows_lineages)
    first = asked(QUESTION)
    name = book.name(first)
    answered = Link(first.history, [item(ANSWER)])
    book.remember("", answered, name)
    other = book.name(asked(QUESTION))
    assert (book.name(asked(QUESTION, parent=answered)) == name) == knows_lineages
    assert (book.name(asked(QUESTION, parent=answered)) == other) == (not knows_lineages)


def test_names_are_forgotten_when_there_are_too_many() -> None:
    book = sessions(max_remembered=2)
    names = {book.name(asked({"role": "user", "content": str(number)})) for number in range(4)}
    assert len(names) == 4
    oldest = asked({"role": "user", "content": "0"}, ANSWER)
    newest = asked({"role": "user", "content": "3"}, ANSWER)
    assert book.name(newest) in names
    assert book.name(oldest) not in names
