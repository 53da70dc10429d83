"""The routes of one model, and which of them is to take a turn that is warm nowhere."""

from collections.abc import Callable, Sequence
from typing import Generic

from landline.routing.choice import Choice, Route, TargetT


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
