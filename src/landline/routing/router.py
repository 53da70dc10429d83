"""Which target serves a model name."""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from landline.wire.errors import ApiError, api_error

CATCH_ALL = "*"

TargetT = TypeVar("TargetT")


class Route(msgspec.Struct, Generic[TargetT], frozen=True):
    """One way to serve a model."""

    target: TargetT
    upstream_model: str | None
    """The model's name at the target; None passes on the name that the client asked for."""


class Choice(msgspec.Struct, Generic[TargetT], frozen=True):
    """The target of one turn."""

    target: TargetT
    model: str
    """The name to ask the target for."""


class Router(Generic[TargetT]):
    """Model names and their routes, in order of preference; `*` catches the names that no other row has."""

    def __init__(self, routes: Mapping[str, Sequence[Route[TargetT]]]) -> None:
        self._routes = {name: tuple(each) for name, each in routes.items()}

    @property
    def model_names(self) -> list[str]:
        """The names that clients can ask for, without `*`."""
        return [name for name in self._routes if name != CATCH_ALL]

    def choose(self, model: str | None) -> Choice[TargetT] | ApiError:
        """The target for a requested model name."""
        if model is None:
            return api_error("missing_required_parameter", f"Expected `model`: {self._offer()}.", param="model")
        routes = self._routes.get(model) or self._routes.get(CATCH_ALL)
        if not routes:
            return api_error("model_not_found", f"No model named {model!r} here: {self._offer()}.", param="model")
        return Choice(routes[0].target, routes[0].upstream_model or model)

    def _offer(self) -> str:
        names = ", ".join(f"`{name}`" for name in self.model_names)
        return f"this server offers {names}" if names else "this server takes any model name"
