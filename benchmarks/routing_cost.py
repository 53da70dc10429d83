"""What does it cost to choose a replica for a turn? No server, no socket: the router alone, two replicas, one process.

A warm turn: a lineage of the given number of items, whose prefix before the turn's two new ones was served before; timed
are plan, begin, the notes of the try, and the remembering of the lineage with one output item: what a turn runs. The
digests of the new items are made anew each time, those of the old links are there, as on a socket or with a history that
was recognised. A cold turn: the same lineage as one link that nothing is known of, digests made before the clock starts
("looked up") or by the choice itself ("first read"); the latter is what any index over content pays once for a history that
is new to the process. A key is given, as a socket's lane or `prompt_cache_key` gives it; one row makes it from the content, as
for an HTTP client that names none, which walks to the root of the lineage: here 1 item a link, the worst case.

    python benchmarks/routing_cost.py [--rounds 300]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import msgspec

from landline.routing.choice import Route, Wanted
from landline.routing.router import Router
from landline.routing.warmth import conversation_key
from landline.session.lineage import Link
from landline.wire.items import Item, encode_item
from setting import describe_setting, write_result

ITEM_COUNTS = (10, 1000)
ITEM_BYTES = 1000
NEW_ITEMS = 2
KNOWN_LINEAGES = 20_000
"""Other conversations that the router remembers meanwhile."""


class _Target(msgspec.Struct, frozen=True):
    name: str
    compacts: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    rows = [row for count in ITEM_COUNTS for row in _measure(count, rounds)]
    write_result("routing_cost", _report(rows, rounds))


def _measure(count: int, rounds: int) -> list[str]:
    items = [_item(number) for number in range(count)]
    router = Router({"m": [Route(_Target("a"), None), Route(_Target("b"), None)]})
    home = router.plan(Wanted("m"), 0.0)
    assert isinstance(home, list)
    for number in range(KNOWN_LINEAGES):
        router.remember("", Link(None, [_item(-number - 1)]), home[0])
    before = _linked(items[: count - NEW_ITEMS])
    router.remember("", before, home[0])
    strange = [_item(number, "strange") for number in range(count)]

    def warm() -> Link:
        return Link(before, items[count - NEW_ITEMS :])

    def looked_up() -> Link:
        link = Link(None, strange)
        assert link.digest
        return link

    def first_read() -> Link:
        return Link(None, strange)

    cases: list[tuple[str, Callable[[], Link], str, str | None]] = [
        ("warm, choice", warm, "warm", "lane"),
        ("warm, choice with a key made from content", warm, "warm", None),
        ("warm, whole turn", warm, "warm", "lane"),
        ("cold, choice, digests known", looked_up, "weight", "new lane"),
        ("cold, choice, first read", first_read, "weight", "new lane"),
    ]
    return [
        _row(name, count, _time(router, make, why, rounds, key=key, is_whole="whole" in name))
        for name, make, why, key in cases
    ]


def _time(
    router: Router[_Target], make: Callable[[], Link], reason: str, rounds: int, *, key: str | None, is_whole: bool
) -> list[float]:
    """Seconds of each round."""
    times: list[float] = []
    for number in range(rounds):
        history = make()
        ended = Link(history, [_item(number, "written")])
        started = time.perf_counter()
        wanted = Wanted("m", history=history, affinity_key=key or conversation_key("", history))
        plan = router.plan(wanted, 0.0)
        assert isinstance(plan, list)
        if is_whole:
            ticket = router.begin(plan[0], 0.0)
            assert ticket is not None
            router.note_served(wanted, plan[0])
            ticket.succeed()
            ticket.end()
            router.remember("", ended, plan[0])
        times.append(time.perf_counter() - started)
        assert plan[0].reason == reason, plan[0].reason
    return times


def _linked(items: list[Item]) -> Link:
    """Two links a turn, as a chain has them."""
    history: Link | None = None
    for item in items:
        history = Link(history, [item])
    assert history is not None
    return history


def _item(number: int, words: str = "words") -> Item:
    role = "assistant" if number % 2 else "user"
    return encode_item({"type": "message", "role": role, "content": f"{words} {number} ".ljust(ITEM_BYTES, "x")})


def _row(name: str, count: int, times: list[float]) -> str:
    median, best = statistics.median(times), min(times)
    return f"| {name} | {count} | {median * 1e6:.0f} | {best * 1e6:.0f} |"


def _report(rows: list[str], rounds: int) -> list[str]:
    return [
        "# What the choice of a replica costs a turn",
        "",
        f"`python benchmarks/routing_cost.py`: two replicas, items of {ITEM_BYTES} bytes, {KNOWN_LINEAGES} other lineages known,",
        f"n = {rounds} for each row, microseconds. The file's head says exactly what is timed.",
        "",
        *describe_setting("landline", "msgspec"),
        "",
        "| turn | items of history | median | best |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "Not shown: the log line of a turn, and models with one target only, for which nothing is looked up.",
    ]


if __name__ == "__main__":
    main()
