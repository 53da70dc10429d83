"""Which target serves a turn: where its history is warm, else where its key was served last, else the idlest.

The router keeps a pool of routes for each model, and the health of each target. Whoever runs turns asks it.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Generic

import msgspec

from landline.routing.choice import Affinity, Choice, Reason, Route, TargetT, Wanted, affinity_of
from landline.routing.health import Health, State, Ticket
from landline.routing.warmth import Warmth
from landline.session.lineage import Link
from landline.wire.errors import ERROR_RULES, ApiError, api_error


class Pool(Generic[TargetT]):
    """Routes with their dues: among equally idle ones each gets its share of the turns, spread evenly.

    The rule is that of smooth weighted round robin: of those that could take a turn, each is credited with its weight, the
    one with the most credit takes it and pays for all. Weights 3 and 1 give a, a, b, a.
    """

    def __init__(self, routes: Sequence[Route[TargetT]]) -> None:
        self.routes = tuple(routes)
        self._dues = [0.0] * len(self.routes)

    def choices(self, row: str, model: str) -> list[Choice[TargetT]]:
        """Every route as a choice, for a client that asked for this model name."""
        return [
            Choice(route.target, route.upstream_model or model, row=row, index=index, sampling=route.sampling)
            for index, route in enumerate(self.routes)
        ]

    def by_load(
        self, choices: Sequence[Choice[TargetT]], in_flight: Callable[[Choice[TargetT]], int]
    ) -> tuple[list[Choice[TargetT]], list[float]]:
        """The choices, the one that is to take a new conversation first; and the load of each: turns in flight for its
        weight."""
        ranked = sorted(
            (in_flight(choice) / self.weight(choice), -self._dues[choice.index] - self.weight(choice), choice.index)
            for choice in choices
        )
        found = {choice.index: choice for choice in choices}
        return [found[index] for _, _, index in ranked], [load for load, _, _ in ranked]

    def charge(self, taker: Choice[TargetT], tied: Sequence[Choice[TargetT]]) -> None:
        """One of several equally idle choices, itself among them, takes a turn."""
        for choice in tied:
            self._dues[choice.index] += self.weight(choice)
        self._dues[taker.index] -= sum(self.weight(choice) for choice in tied)

    def weight(self, choice: Choice[TargetT]) -> float:
        """The weight of the choice's route."""
        return self.routes[choice.index].weight


CATCH_ALL = "*"
_MAX_SHOWN_NAME = 100
KEY_SLACK = 8.0
"""Turns in flight, for each unit of weight, that the target of a key may have more than the idlest one. Clients may name
all their conversations alike, and those must not all go to one replica."""


class RoutedTurns(msgspec.Struct, frozen=True):
    """How many turns one target served for one reason."""

    target: str
    reason: Reason
    affinity: Affinity
    turns: int


class TargetHealth(msgspec.Struct, frozen=True):
    """How a target stands."""

    target: str
    state: State
    in_flight: int
    wait_s: float
    """Seconds until it may be asked again; 0 when it may now."""
    failures: Mapping[str, int] = {}
    """Tries that it failed or refused since the start, by error code; codes of a vendor's own are `other`."""


class Router(Generic[TargetT]):
    """Model names and their pools of routes; `*` catches the names that no other row has.

    Whoever runs a turn calls `plan`, then `begin` for each try, in the plan's order and with nothing awaited before the
    first; `note_served` for the try that the upstream took, and `remember` when the turn has ended. `now` is in seconds of
    a clock that only goes forward.
    """

    def __init__(
        self,
        routes: Mapping[str, Sequence[Route[TargetT]]],
        *,
        warmth: Warmth | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._pools = {name: Pool(each) for name, each in routes.items() if each}
        self._warmth = warmth or Warmth()
        names = {route.target.name for each in routes.values() for route in each}
        self._health = {name: Health(jitter) for name in sorted(names)}
        self._served: dict[tuple[str, Reason], int] = {}
        self._failures: dict[str, Counter[str]] = {name: Counter() for name in self._health}

    @property
    def model_names(self) -> list[str]:
        """The names that clients can ask for, without `*`."""
        return [name for name in self._pools if name != CATCH_ALL]

    def refuse(self, model: str | None) -> ApiError | None:
        """Why no target can be asked for a model of this name; None if one can."""
        row = self._row(model)
        return row if isinstance(row, ApiError) else None

    def plan(self, wanted: Wanted, now: float) -> list[Choice[TargetT]] | ApiError:
        """The targets that may serve the turn, the best first, one at least. Nothing is changed by asking."""
        row = self._row(wanted.model)
        if isinstance(row, ApiError):
            return row
        choices = self._pools[row].choices(row, wanted.model or row)
        if wanted.unreadable is not None:
            choices = [choice for choice in choices if choice.target.compacts]
            if not choices:
                return wanted.unreadable
        makers = self._makers(wanted, choices)
        if makers:
            is_broken = all(self._health[choice.target.name].is_broken(now) for choice in makers)
            return self._maker_gone(makers[0], now) if is_broken else self._with_reason("sealed", makers)
        usable = [choice for choice in choices if self._health[choice.target.name].is_usable(now)]
        if not usable:
            soonest = sorted(choices, key=lambda choice: self._health[choice.target.name].wait_s(now))
            return self._with_reason("last_resort", soonest)
        return self._with_reason("only", usable) if len(usable) == 1 else self._rank(self._pools[row], usable, wanted)

    def begin(self, choice: Choice[TargetT], now: float) -> Ticket | None:
        """A turn is about to be tried here. None: it is not to be tried here any more, because others failed meanwhile.

        The ticket must be ended.
        """
        health = self._health[choice.target.name]
        if choice.reason not in ("sealed", "last_resort") and not health.is_usable(now):
            return None
        if choice.reason == "weight":
            pool = self._pools[choice.row]
            pool.charge(choice, self._as_idle(pool, choice, now))
        return health.begin(now)

    def note_served(self, wanted: Wanted, choice: Choice[TargetT]) -> None:
        """The target took the turn."""
        known = (choice.target.name, choice.reason)
        self._served[known] = self._served.get(known, 0) + 1
        if wanted.affinity_key is not None and self.has_others(choice):
            self._warmth.remember_key(wanted.tenant, wanted.affinity_key, choice.place)

    def note_failed(self, choice: Choice[TargetT], error: ApiError) -> None:
        """The target failed or refused a try, whether or not another one takes the turn."""
        self._failures[choice.target.name][error.code if error.code in ERROR_RULES else "other"] += 1

    def remember(self, tenant: str, history: Link, choice: Choice[TargetT]) -> None:
        """A turn ended in this lineage, what the model wrote included: it is warm where the turn was served."""
        if self.has_others(choice):
            self._warmth.remember(tenant, history, choice.place)
        if choice.target.compacts:
            self._warmth.remember_maker(tenant, history, choice.target.name)

    def has_others(self, choice: Choice[TargetT]) -> bool:
        """Whether its model has other routes: if not, there is no choice to remember or to report."""
        return len(self._pools[choice.row].routes) > 1

    def served_turns(self) -> list[RoutedTurns]:
        """How many turns each target served, by reason, since the start."""
        return [
            RoutedTurns(target, reason, affinity_of(reason), turns)
            for (target, reason), turns in sorted(self._served.items())
        ]

    def target_health(self, now: float) -> list[TargetHealth]:
        """How each target stands."""
        return [
            TargetHealth(name, health.state, health.in_flight, health.wait_s(now), dict(self._failures[name]))
            for name, health in self._health.items()
        ]

    def _rank(self, pool: Pool[TargetT], usable: list[Choice[TargetT]], wanted: Wanted) -> list[Choice[TargetT]]:
        """Two or more choices in order of preference."""
        ranked, loads = pool.by_load(usable, self._in_flight)
        first = self._warm(ranked, wanted) or self._keyed(ranked, loads, wanted)
        if first is None:
            return self._with_reason("load" if loads[0] < loads[1] else "weight", ranked)
        return [first, *self._with_reason("fail_over", [choice for choice in ranked if choice.index != first.index])]

    def _warm(self, ranked: list[Choice[TargetT]], wanted: Wanted) -> Choice[TargetT] | None:
        if wanted.history is None:
            return None
        places = {choice.place: choice for choice in reversed(ranked)}
        found = self._warmth.find(wanted.tenant, wanted.history, places.keys())
        if found is None:
            return None
        return msgspec.structs.replace(places[found.place], reason="warm", prefix_items=found.item_count)

    def _keyed(self, ranked: list[Choice[TargetT]], loads: list[float], wanted: Wanted) -> Choice[TargetT] | None:
        if wanted.affinity_key is None:
            return None
        place = self._warmth.find_key(wanted.tenant, wanted.affinity_key)
        for choice, load in zip(ranked, loads, strict=True):
            if choice.place == place and load <= loads[0] + KEY_SLACK:
                return msgspec.structs.replace(choice, reason="key")
        return None

    def _makers(self, wanted: Wanted, choices: list[Choice[TargetT]]) -> list[Choice[TargetT]]:
        """The routes to the target that made the sealed compaction in the history; none without one, or if its maker is
        unknown.

        Then a target that compacts is asked like any other turn: what it did not make it refuses.
        """
        if wanted.history is None:
            return []
        maker = self._warmth.find_maker(wanted.tenant, wanted.history)
        return [choice for choice in choices if choice.target.name == maker]

    def _maker_gone(self, choice: Choice[TargetT], now: float) -> ApiError:
        message = (
            f"Target {choice.target.name!r} cannot be reached for now, and only it can read the compaction in this "
            "conversation, which it made."
        )
        wait_s = self._health[choice.target.name].wait_s(now)
        return api_error("upstream_unavailable", message, retry_after_s=max(wait_s, 1.0))

    def _as_idle(self, pool: Pool[TargetT], taker: Choice[TargetT], now: float) -> list[Choice[TargetT]]:
        """The choices that are as idle as the one taken, itself among them."""
        choices = pool.choices(taker.row, taker.model)
        usable = [choice for choice in choices if self._health[choice.target.name].is_usable(now)]
        ranked, loads = pool.by_load(usable, self._in_flight)
        return [choice for choice, load in zip(ranked, loads, strict=True) if load == loads[0]]

    def _in_flight(self, choice: Choice[TargetT]) -> int:
        return self._health[choice.target.name].in_flight

    @staticmethod
    def _with_reason(reason: Reason, choices: Sequence[Choice[TargetT]]) -> list[Choice[TargetT]]:
        """The choices with the reason for the first; the others are for when it fails."""
        others: Reason = reason if reason in ("sealed", "last_resort") else "fail_over"
        return [
            msgspec.structs.replace(choice, reason=others if place else reason) for place, choice in enumerate(choices)
        ]

    def _row(self, model: str | None) -> str | ApiError:
        """The row that serves a model name."""
        if model is None:
            return api_error("missing_required_parameter", f"Expected `model`: {self._offer()}.", param="model")
        row = model if model in self._pools else CATCH_ALL
        if row not in self._pools:
            name = json.dumps(model if len(model) <= _MAX_SHOWN_NAME else "NAME")
            message = (
                f"No model named {model!r} here: {self._offer()}. Whoever runs it can give a model this name too: "
                f'`[models.{name}]` in its configuration, or `[models."*"]` for every name.'
            )
            return api_error("model_not_found", message, param="model")
        return row

    def _offer(self) -> str:
        names = ", ".join(f"`{name}`" for name in self.model_names)
        return f"this server offers {names}" if names else "this server takes any model name"
