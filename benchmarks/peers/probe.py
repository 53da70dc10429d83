"""Does a server do what it claims to? The same few cases for every way of taking turns, before anything is timed.

The upstream answers with what it was told, so a case sees whether the history came to the model whole,
once and in order.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from peers.adapters import Way
from peers.clients import (
    Reply,
    Server,
    different_words,
    get_response,
    one_line,
    open_line,
    take_side_by_side,
    user,
)
from peers.probe_upstream import TOOL

SIDE_BY_SIDE = 16
CASE_TIMEOUT_S = 40.0
_TOOLS: Sequence[Mapping[str, Any]] = [
    {
        "type": "function",
        "name": TOOL,
        "description": "Looks a word up.",
        "strict": False,
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    }
]


class Finding(msgspec.Struct, frozen=True):
    """How one server did in one case of one way."""

    way: Way
    case: str
    error: str
    """What went wrong, on one line; empty when the case passed."""
    is_needed: bool
    """Whether a way is timed only when this case passes."""


class Case(msgspec.Struct, frozen=True):
    """One rule. `find_fault` returns what is wrong on one line, or an empty string."""

    name: str
    find_fault: Callable[[aiohttp.ClientSession, Server, Way], Awaitable[str]]
    ways: Sequence[Way] = tuple(Way)
    is_needed: bool = False


async def probe(server: Server, ways: Sequence[Way]) -> list[Finding]:
    """Findings for every case of every way, in order. Nothing that a server does raises."""
    findings: list[Finding] = []
    for way in ways:
        for case in CASES:
            if way in case.ways:
                error = await _find_fault(case, server, way)
                findings.append(Finding(way, case.name, error, case.is_needed))
    return findings


def ways_to_time(findings: Sequence[Finding]) -> list[Way]:
    """The ways in which no needed case failed."""
    failed = {finding.way for finding in findings if finding.error and finding.is_needed}
    return [way for way in Way if way not in failed and any(finding.way is way for finding in findings)]


async def _find_fault(case: Case, server: Server, way: Way) -> str:
    try:
        async with asyncio.timeout(CASE_TIMEOUT_S), aiohttp.ClientSession() as http:
            return await case.find_fault(http, server, way)
    except TimeoutError:
        return "no answer in time"
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # What a server sends may have any shape: it is judged here, and what does not fit is its fault.
        return one_line(f"{type(error).__name__}: {error}")


def judge_text(reply: Reply, expected: str) -> str:
    """What is wrong with a streamed answer that should have had this text; empty when nothing is."""
    if reply.error:
        return reply.error
    streamed = "".join(reply.deltas)
    if streamed != expected:
        return one_line(f"expected the text {expected!r}, streamed was {streamed!r}")
    if len(reply.deltas) < 2:
        return "the text came in one piece"
    ended = output_text(reply.output)
    return "" if ended == expected else one_line(f"the completed response holds {ended!r} instead of {expected!r}")


def judge_call(reply: Reply, word: str) -> str:
    """What is wrong with an answer that should have called the tool with this word."""
    if reply.error:
        return reply.error
    calls = [item for item in reply.output if item.get("type") == "function_call"]
    if len(calls) != 1:
        return f"expected one tool call, the response holds {len(calls)}"
    name, arguments = calls[0].get("name"), calls[0].get("arguments")
    if name != TOOL or json.loads(arguments or "null") != {"word": word}:
        return one_line(f"expected {TOOL} of {word!r}, called was {name} with {arguments!r}")
    return ""


def judge_refusal(reply: Reply) -> str:
    """What is wrong with an answer to a request that can only be refused."""
    return "" if reply.error else one_line(f"no error, but an answer: {''.join(reply.deltas)!r}")


def output_text(output: Sequence[Mapping[str, Any]]) -> str:
    """The text of all messages of a response."""
    parts = [part for item in output if item.get("type") == "message" for part in item.get("content", [])]
    return "".join(part.get("text", "") for part in parts)


async def _stream(http: aiohttp.ClientSession, server: Server, way: Way) -> str:
    async with open_line(http, server, way) as line:
        return judge_text(await line.say([user("one")]), "heard: one")


async def _continue(http: aiohttp.ClientSession, server: Server, way: Way) -> str:
    texts = ["one", "two", "three"]
    async with open_line(http, server, way) as line:
        for count, text in enumerate(texts, 1):
            fault = judge_text(await line.say([user(text)]), "heard: " + " | ".join(texts[:count]))
            if fault:
                return f"turn {count}: {fault}"
    return ""


async def _call_tool(http: aiohttp.ClientSession, server: Server, way: Way) -> str:
    async with open_line(http, server, way) as line:
        reply = await line.say([user("one")], tools=_TOOLS)
        fault = judge_call(reply, "one")
        if fault:
            return fault
        call = next(item for item in reply.output if item["type"] == "function_call")
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "found it"}
        return judge_text(await line.say([output], tools=_TOOLS), "the tool said: found it")


async def _stay_apart(http: aiohttp.ClientSession, server: Server, way: Way) -> str:
    words = different_words(SIDE_BY_SIDE, 2)
    conversations = await take_side_by_side(http, server, way, words)
    faults = [
        judge_text(reply, "heard: " + " | ".join(texts[:count]))
        for texts, replies in zip(words, conversations, strict=True)
        for count, reply in enumerate(replies, 1)
    ]
    wrong = [fault for fault in faults if fault]
    return f"{len(wrong)} of {len(faults)} turns: {wrong[0]}" if wrong else ""


async def _refuse_unknown(http: aiohttp.ClientSession, server: Server, way: Way) -> str:
    async with open_line(http, server, way) as line:
        return judge_refusal(await line.say_after("resp_ffffffffffffffffffffffffffffffff", [user("one")]))


async def _forget(http: aiohttp.ClientSession, server: Server, way: Way) -> str:
    async with open_line(http, server, way) as line:
        reply = await line.say([user("one")])
    if reply.error:
        return reply.error
    status, _ = await get_response(http, server, reply.response_id)
    if status == 200:
        return "GET gives an unstored response"
    async with open_line(http, server, way) as line:
        fault = judge_refusal(await line.say_after(reply.response_id, [user("two")]))
        return f"an unstored response is continued by a later connection: {fault}" if fault else ""


async def _keep(http: aiohttp.ClientSession, server: Server, way: Way) -> str:
    async with open_line(http, server, way) as line:
        reply = await line.say([user("one")])
    if reply.error:
        return reply.error
    status, body = await get_response(http, server, reply.response_id)
    if status != 200:
        return one_line(f"GET of a stored response: {status} {body}")
    kept = output_text(json.loads(body).get("output", []))
    if kept != "heard: one":
        return one_line(f"GET gives a response with {kept!r}")
    async with open_line(http, server, way) as line:
        return judge_text(await line.say_after(reply.response_id, [user("two")]), "heard: one | two")


_STORED = (Way.SOCKET_STORED, Way.HTTP_CHAINED)
CASES: Sequence[Case] = (
    Case("a turn streams its text", _stream, is_needed=True),
    Case("the model knows the history, once and in order", _continue, is_needed=True),
    Case(f"{SIDE_BY_SIDE} conversations at once stay apart", _stay_apart, is_needed=True),
    Case("a tool is called, and its output comes to the model", _call_tool),
    Case("an unknown previous response is an error", _refuse_unknown, (Way.SOCKET, *_STORED)),
    Case("an unstored response cannot be had afterwards", _forget, (Way.SOCKET, Way.HTTP_FULL)),
    Case("a stored response can be had and continued afterwards", _keep, _STORED),
)
