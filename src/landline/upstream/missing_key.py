"""What to say when a target wants a key and the configuration has none for it."""

from collections.abc import Mapping, Sequence

from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Failed, ModelEvent

_REFUSED_KEY = "The target refused the key"
"""How dialects say it, which takes for granted that there was one."""


class MissingKey:
    """A target's key, if it has none: turns the refusal that follows into what to do about it."""

    def __init__(
        self, target_name: str, headers: Mapping[str, str], key_header: str, key_envs: Sequence[str] = ()
    ) -> None:
        """`headers` are those of every request; `key_envs` the variables that usually hold the key."""
        self._target_name = target_name
        self._is_given = key_header.lower() in {header.lower() for header in headers}
        self._key_envs = key_envs

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
