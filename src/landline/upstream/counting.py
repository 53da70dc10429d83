"""Counts a prompt's tokens at a target: by the server's own counter where it has one, else by having it read the prompt."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing

import aiohttp
import msgspec

from landline.dialects.dialect import CountRequest, Prompt
from landline.upstream.counted import on_live_connection
from landline.upstream.target import Reply, Traffic, batches_of
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Failed, UsageReported
from landline.wire.readable import UNREADABLE

_TIMEOUT = aiohttp.ClientTimeout(total=60.0)
_NOT_HERE = frozenset((404, 405, 501))
"""The server has no such endpoint."""
_NOT_NOW = frozenset((401, 403))
"""It may have one: what the key may do, or a gateway's rules for this path, can change, or differ for one request."""
_NOT_HERE_S = 600.0
"""How long a missing endpoint is not asked again: servers are updated, and gateways answer so while theirs restarts."""
_NOT_NOW_S = 60.0


class Counters:
    """The counting endpoints of one server. One that is not there is not asked again for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._missing_until: dict[str, float] = {}

    async def count(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        requests: Sequence[CountRequest],
        headers: Mapping[str, str],
    ) -> int | None:
        """The count of the first endpoint that gives one; None if none does."""
        for request in requests:
            if self._clock() >= self._missing_until.get(request.path, 0.0):
                count = await self._ask(session, base_url, request, headers)
                if count is not None:
                    return count
        return None

    async def _ask(
        self, session: aiohttp.ClientSession, base_url: str, request: CountRequest, headers: Mapping[str, str]
    ) -> int | None:
        url = (base_url.removesuffix("/v1") if request.is_at_root else base_url) + request.path
        sent = {"Content-Type": "application/json", **request.headers, **headers}

        async def send() -> aiohttp.ClientResponse:
            return await session.post(url, data=request.body, headers=sent, allow_redirects=False, timeout=_TIMEOUT)

        try:
            async with await on_live_connection(send, is_repeatable=True) as response:
                if response.status in _NOT_HERE | _NOT_NOW:
                    rest_s = _NOT_HERE_S if response.status in _NOT_HERE else _NOT_NOW_S
                    self._missing_until[request.path] = self._clock() + rest_s
                return request.read_count(await response.read()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, *UNREADABLE):
            return None


async def count_by_reading(ask: Callable[[Prompt], Reply], prompt: Prompt, traffic: Traffic) -> int | ApiError:
    """Has the model read the whole prompt and write one token: exact, at the price of a prefill."""
    request = msgspec.structs.replace(prompt.request, max_output_tokens=1, generate=None, prompt_cache_options=None)
    reply = ask(msgspec.structs.replace(prompt, request=request))
    tokens = 0
    try:
        async with aclosing(batches_of(reply)) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, Failed):
                        return event.error
                    if isinstance(event, UsageReported):
                        tokens = event.input_tokens
    finally:
        traffic.add(reply.traffic)
    if not tokens:
        return api_error("unsupported_parameter", "The model's target has no token counter and reports no usage.")
    return tokens
