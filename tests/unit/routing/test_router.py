"""A model name leads to a pool, and a turn to the target in it that has its state, else to the idlest."""

from pathlib import Path
from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from landline.routing.choice import Choice, Reason, Route, Wanted, affinity_of
from landline.routing.health import FAILURES_IN_A_ROW, Ticket
from landline.routing.router import KEY_SLACK, RoutedTurns, Router
from landline.session.lineage import Link
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item, encode_item


class Named(msgspec.Struct, frozen=True):
    """A target, as far as the router is concerned."""

    name: str
    compacts: bool = False


A, B, C = Named("a"), Named("b"), Named("c")
UNREADABLE = api_error("invalid_encrypted_content", "sealed elsewhere")


def message(role: str, text: str) -> Item:
    return encode_item({"type": "message", "role": role, "content": text})


def compaction(token: str = "vendor's") -> Item:
    return encode_item({"type": "compaction", "encrypted_content": token})


def lineage(*links: list[Item]) -> Link:
    history: Link | None = None
    for items in links:
        history = Link(history, items)
    assert history is not None
    return history


def conversation(turns: int = 2) -> Link:
    """A lineage whose last item a model wrote."""
    return lineage(*([message("user", f"u{n}"), message("assistant", f"a{n}")] for n in range(turns)))


def pool(*routes: Route[Named]) -> Router[Named]:
    return Router({"m": routes or (Route(A, None), Route(B, None))}, jitter=lambda: 0.0)


def plan(router: Router[Named], wanted: Wanted, now: float = 0.0) -> list[Choice[Named]]:
    choices = router.plan(wanted, now)
    assert isinstance(choices, list), choices
    return choices


def names(choices: list[Choice[Named]]) -> list[str]:
    return [choice.target.name for choice in choices]


def begin(router: Router[Named], wanted: Wanted, now: float = 0.0) -> tuple[Choice[Named], Ticket]:
    """Plans a turn and begins it at the first choice."""
    first = plan(router, wanted, now)[0]
    ticket = router.begin(first, now)
    assert ticket is not None
    return first, ticket


def serve(router: Router[Named], wanted: Wanted, ended: Link | None = None, now: float = 0.0) -> Choice[Named]:
    """One whole turn."""
    choice, ticket = begin(router, wanted, now)
    router.note_served(wanted, choice)
    ticket.succeed()
    ticket.end()
    if ended is not None:
        router.remember(wanted.tenant, ended, choice)
    return choice


def break_target(router: Router[Named], name: str, now: float = 0.0) -> None:
    """Has turns fail at the target until its breaker opens."""
    for _ in range(FAILURES_IN_A_ROW):
        choice = next(each for each in plan(router, Wanted("m"), now) if each.target.name == name)
        ticket = router.begin(choice, now)
        assert ticket is not None
        ticket.fail(now)
        ticket.end()


M = Wanted("m")


def test_named_model_goes_to_its_target_under_the_upstreams_name() -> None:
    [choice] = plan(Router({"demo": [Route(A, "big-model")]}), Wanted("demo"))
    assert (choice.target, choice.model, choice.reason, choice.affinity) == (A, "big-model", "only", "none")


def test_without_an_upstream_name_the_clients_name_is_passed_on() -> None:
    [choice] = plan(Router({"plain": [Route(B, None)]}), Wanted("plain"))
    assert choice.model == "plain"


def test_star_catches_other_names_and_only_those() -> None:
    router = Router({"demo": [Route(A, None)], "*": [Route(B, None)]})
    assert [(each.target, each.model) for each in plan(router, Wanted("gpt-x"))] == [(B, "gpt-x")]
    assert [(each.target, each.model) for each in plan(router, Wanted("demo"))] == [(A, "demo")]
    assert router.model_names == ["demo"]


def test_each_reason_is_documented_with_its_affinity() -> None:
    page = (Path(__file__).parents[3] / "docs" / "routing.md").read_text(encoding="utf-8")
    missing = [reason for reason in get_args(Reason) if f"| `{reason}` | {affinity_of(reason)} |" not in page]
    assert missing == []


def test_unknown_model_is_refused_with_what_is_on_offer() -> None:
    router = Router({"demo": [Route(A, None)], "plain": [Route(B, None)]})
    error = router.plan(Wanted("nope"), 0.0)
    assert isinstance(error, ApiError)
    assert (error.code, error.status, error.param) == ("model_not_found", 404, "model")
    assert "`demo`, `plain`" in error.message
    assert "'nope'" in error.message
    assert '`[models."nope"]` in its configuration' in error.message
    assert router.refuse("nope") == error
    assert router.refuse("demo") is None


def test_absent_model_is_refused() -> None:
    error = Router({"*": [Route(A, None)]}).refuse(None)
    assert error is not None
    assert error.code == "missing_required_parameter"


def test_turn_goes_where_its_history_is_warm_however_idle_another_is() -> None:
    router = pool()
    ended = conversation()
    home = serve(router, M, ended)
    for _ in range(5):
        ticket = router.begin(home, 0.0)
        assert ticket is not None
    choice = plan(router, Wanted("m", history=Link(ended, [message("user", "next")])))[0]
    assert (choice.target, choice.reason, choice.affinity, choice.prefix_items) == (home.target, "warm", "soft", 4)


def test_history_played_back_in_other_links_is_as_warm() -> None:
    router = pool()
    home = serve(router, M, conversation(3))
    whole = lineage([*conversation(3).all_items(), message("user", "next")])
    assert plan(router, Wanted("m", history=whole))[0] == msgspec.structs.replace(home, reason="warm", prefix_items=6)


def test_longest_warm_prefix_wins() -> None:
    router = pool(Route(A, None), Route(B, None), Route(C, None))
    for turns, name in ((1, "c"), (3, "a"), (2, "b")):
        choice = next(each for each in plan(router, M) if each.target.name == name)
        router.remember("", conversation(turns), choice)
    choices = plan(router, Wanted("m", history=conversation(5)))
    assert names(choices)[0] == "a"
    assert choices[0].prefix_items == 6


def test_warmth_of_another_tenant_counts_for_nothing() -> None:
    router = pool()
    home = serve(router, Wanted("m", tenant="one"), conversation())
    idlest = plan(router, M)[0]
    assert home.target != idlest.target
    assert plan(router, Wanted("m", tenant="two", history=conversation()))[0] == idlest


def test_same_target_under_another_model_is_not_warm() -> None:
    router = Router({"m": [Route(A, "small"), Route(A, "big"), Route(B, "big")]}, jitter=lambda: 0.0)
    big = next(choice for choice in plan(router, M) if choice.place == ("a", "big"))
    router.remember("", conversation(), big)
    assert plan(router, Wanted("m", history=conversation()))[0].place == ("a", "big")


def test_key_decides_where_nothing_is_warm() -> None:
    router = pool()
    keyed = Wanted("m", affinity_key="lane")
    home = serve(router, keyed)
    choice = plan(router, keyed)[0]
    assert (choice.target, choice.reason, choice.affinity) == (home.target, "key", "soft")
    other = Wanted("m", tenant="other", affinity_key="lane")
    assert plan(router, other)[0].target != home.target


def test_key_that_everybody_shares_does_not_fill_one_target() -> None:
    router = pool()
    keyed = Wanted("m", affinity_key="my-app")
    begun = [begin(router, keyed)[0] for _ in range(1)]
    router.note_served(keyed, begun[0])
    begun += [begin(router, keyed)[0] for _ in range(40)]
    at_home = [choice for choice in begun if choice.target == begun[0].target]
    assert abs(len(at_home) - (41 - len(at_home))) <= KEY_SLACK + 1


def test_cold_turn_goes_to_the_target_with_fewest_turns_in_flight_for_its_weight() -> None:
    router = pool(Route(A, None, weight=3), Route(B, None, weight=1))
    begun = [begin(router, M)[0] for _ in range(8)]
    assert sorted(names(begun)) == ["a"] * 6 + ["b"] * 2
    assert {choice.reason for choice in begun} == {"load", "weight"}


def test_idle_targets_take_turns_by_weight_evenly_spread() -> None:
    router = pool(Route(A, None, weight=3), Route(B, None, weight=1))
    served = [serve(router, M).target.name for _ in range(8)]
    assert "".join(served) == "aabaaaba"


def test_broken_target_is_left_out_and_comes_back_for_one_try() -> None:
    router = pool()
    ended = conversation()
    home = serve(router, M, ended)
    warm = Wanted("m", history=ended)
    break_target(router, home.target.name)
    [moved] = plan(router, warm)
    assert (moved.target != home.target, moved.reason) == (True, "only")
    [health] = [each for each in router.target_health(0.0) if each.target == home.target.name]
    assert (health.state, health.wait_s) == ("open", 1.0)
    probe, _ = begin(router, warm, now=1.0)
    assert (probe.target, probe.reason) == (home.target, "warm")
    assert names(plan(router, warm, now=1.0)) == names([moved])


def test_turn_that_went_elsewhere_is_warm_there() -> None:
    router = pool()
    first = conversation(1)
    home = serve(router, M, first)
    break_target(router, home.target.name)
    second = conversation(2)
    moved = serve(router, Wanted("m", history=first), second)
    assert moved.target != home.target
    back = plan(router, Wanted("m", history=second), now=100.0)
    assert (back[0].target, back[0].reason) == (moved.target, "warm")
    assert len(back) == 2


def test_where_no_target_is_well_the_soonest_is_asked_all_the_same() -> None:
    router = pool()
    break_target(router, "a", now=0.0)
    break_target(router, "b", now=0.5)
    choices = plan(router, M, now=0.6)
    assert names(choices) == ["a", "b"]
    assert {choice.reason for choice in choices} == {"last_resort"}
    assert router.begin(choices[0], 0.6) is not None


def test_resting_target_is_passed_over_until_its_wait_is_over() -> None:
    router = pool()
    choice, ticket = begin(router, M)
    ticket.rest(0.0, 20.0)
    ticket.end()
    assert choice.target.name not in names(plan(router, M, now=19.9))
    assert len(plan(router, M, now=20.1)) == 2


def test_choice_that_broke_since_the_plan_is_not_begun() -> None:
    router = pool()
    choices = plan(router, M)
    break_target(router, choices[1].target.name)
    assert router.begin(choices[1], 0.0) is None


def test_target_that_cannot_read_the_history_is_left_out() -> None:
    reader = Named("c", compacts=True)
    router = pool(Route(A, None), Route(reader, None))
    sealed = Wanted("m", history=lineage([compaction()]), unreadable=UNREADABLE)
    assert names(plan(router, sealed)) == ["c"]
    assert pool().plan(sealed, 0.0) == UNREADABLE


def sealing_pool() -> tuple[Router[Named], Wanted, Choice[Named]]:
    """Two targets that compact, a conversation that the first of them compacted, and where that was."""
    router = pool(Route(Named("a", compacts=True), None), Route(Named("b", compacts=True), None))
    history = lineage([message("user", "u")], [compaction()])
    maker = serve(router, M, history)
    return router, Wanted("m", history=Link(history, [message("user", "v")]), unreadable=UNREADABLE), maker


def test_only_the_maker_of_a_compaction_is_asked() -> None:
    router, sealed, maker = sealing_pool()
    [choice] = plan(router, sealed)
    assert (choice.target, choice.reason, choice.affinity) == (maker.target, "sealed", "hard")


def test_maker_that_is_down_is_named_and_nobody_else_asked() -> None:
    router, sealed, maker = sealing_pool()
    break_target(router, maker.target.name)
    error = router.plan(sealed, 0.5)
    assert isinstance(error, ApiError)
    assert (error.code, error.retry_after_s) == ("upstream_unavailable", 1.0)
    assert repr(maker.target.name) in error.message
    assert names(plan(router, sealed, now=1.0)) == [maker.target.name]


def test_compaction_of_an_unknown_maker_goes_to_any_target_that_compacts() -> None:
    router, sealed, _ = sealing_pool()
    other = msgspec.structs.replace(sealed, history=lineage([compaction("another")]))
    assert sorted(names(plan(router, other))) == ["a", "b"]


def test_served_turns_are_counted_by_target_and_reason() -> None:
    router = pool()
    ended = conversation()
    home = serve(router, M, ended)
    serve(router, Wanted("m", history=ended))
    serve(router, Wanted("m", history=ended))
    assert router.served_turns() == [
        RoutedTurns(home.target.name, "warm", "soft", 2),
        RoutedTurns(home.target.name, "weight", "none", 1),
    ]


@given(st.data())
def test_plan_holds_each_usable_route_once_and_a_warm_one_first(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    weights = data.draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=count, max_size=count))
    router = Router({"m": [Route(Named(str(n)), None, weight) for n, weight in enumerate(weights)]}, jitter=lambda: 0.5)
    now = 0.0
    homes: dict[int, str] = {}
    for _ in range(data.draw(st.integers(0, 25))):
        now += data.draw(st.sampled_from([0.0, 0.3, 5.0]))
        turns = data.draw(st.integers(1, 4))
        wanted = Wanted("m", history=conversation(turns), affinity_key=data.draw(st.sampled_from([None, "k", "l"])))
        standing = {each.target: each for each in router.target_health(now)}
        choices = plan(router, wanted, now)
        usable = {each.target for each in standing.values() if each.state != "probing" and each.wait_s == 0.0}
        assert sorted(names(choices)) == sorted(usable or set(standing))
        warm = [homes[prefix] for prefix in range(turns, 0, -1) if homes.get(prefix) in usable]
        if warm and len(usable) > 1:
            assert (choices[0].target.name, choices[0].reason) == (warm[0], "warm")
        ticket = router.begin(choices[0], now)
        assert ticket is not None
        outcome = data.draw(st.sampled_from(["succeed", "fail", "rest", "leave", "stay"]))
        match outcome:
            case "succeed":
                router.note_served(wanted, choices[0])
                router.remember("", conversation(turns), choices[0])
                if count > 1:
                    homes[turns] = choices[0].target.name
                ticket.succeed()
            case "fail":
                ticket.fail(now)
            case "rest":
                ticket.rest(now, 3.0)
            case _:
                pass
        if outcome != "stay":
            ticket.end()
