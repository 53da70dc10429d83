"""Where a target is, and the key that its requests carry; what to say when it wants one and has none."""

from collections.abc import Mapping, Sequence

import msgspec

from landline.upstream.http_reply import HttpDeadlines
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Failed, ModelEvent

BEARER_HEADER = "Authorization"
"""The header that carries a key as `Bearer KEY` (RFC 6750); any other carries the key alone."""
_REFUSED_KEY = "The target refused the key"
"""How dialects say it, which takes for granted that there was one."""


class TargetEndpoint(msgspec.Struct, frozen=True):
    """A server that serves a target, and how it is reached."""

    name: str
    """The target's, for messages and the log."""
    base_url: str
    api_key: str | None = None
    key_header: str = BEARER_HEADER
    headers: Mapping[str, str] = {}
    """Of every request, beside the key's."""
    key_envs: Sequence[str] = ()
    """The variables that usually hold the key of this vendor: told where one is missing."""
    deadlines: HttpDeadlines = HttpDeadlines()

    @property
    def secrets(self) -> Sequence[str]:
        """What must not be shown to anybody."""
        return (self.api_key,) if self.api_key else ()

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers of every request, the key among them unless one of that name is given already."""
        is_given = self.key_header.lower() in {header.lower() for header in self.headers}
        if not self.api_key or is_given:
            return dict(self.headers)
        is_bearer = self.key_header.lower() == BEARER_HEADER.lower()
        return {**self.headers, self.key_header: f"Bearer {self.api_key}" if is_bearer else self.api_key}


class MissingKey:
    """A target's key, if it has none: turns the refusal that follows into what to do about it."""

    def __init__(self, endpoint: TargetEndpoint) -> None:
        self._target_name = endpoint.name
        self._is_given = endpoint.key_header.lower() in {header.lower() for header in endpoint.sent_headers}
        self._key_envs = endpoint.key_envs

    def explain(self, error: ApiError) -> ApiError:
        """The error, told as what it is if it says that a key is missing or wrong."""
        if self._is_given or error.code != "upstream_auth_error":
            return error
        example = f', as in `api_key_env = "{self._key_envs[0]}"`' if self._key_envs else ""
        said = "" if error.message.startswith(_REFUSED_KEY) else f" The target said: {error.message}"
        message = (
            f"Target {self._target_name!r} wants a key, and this server has none for it: name the environment variable "
            f"that holds the key in `api_key_env` of `[targets.{self._target_name}]`{example}, and set that variable.{said}"
        )
        return api_error("upstream_auth_error", message, param=error.param)

    def explain_last(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """A batch of a turn; only its last event can be an error."""
        if self._is_given or not events or not isinstance(last := events[-1], Failed):
            return events
        return [*events[:-1], Failed(self.explain(last.error))]
