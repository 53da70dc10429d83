"""The transport's settings. AIPerf hands none to a transport, so they are environment variables."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "AIPERF_RESPONSES_WEBSOCKET_"


class TransportSettings(BaseSettings):
    """How conversations use sockets. Each field is read from its name in upper case after `ENV_PREFIX`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, use_attribute_docstrings=True)

    history: Literal["delta", "full"] = "delta"
    """`delta` sends what is new, by `previous_response_id`; `full` the whole history each turn, as over HTTP."""
    lanes: Annotated[int, Field(ge=1, le=16)] = 1
    """Conversations that share a socket, each in a lane (`stream_id`) of its own; 1 is a socket for each. Servers other than
    OpenAI's and Landline may refuse lanes. OpenAI runs 16 at once."""
    deflate: bool = False
    """Offers permessage-deflate with a window of 15 bits and context takeover."""
    prewarm: bool = False
    """Sends the first request of a conversation as a warm-up (`generate: false`) before its measured time begins."""
    warmup_phase: Literal["generate", "prefill"] = "generate"
    """`prefill` turns the requests of AIPerf's warm-up phase into warm-ups (`generate: false`), which produce no output."""
    open_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """How long a socket may take to open."""
