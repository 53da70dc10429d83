"""Agents' tasks by name: the recorded one, and published ones whose single sizes are drawn around the published figures."""

import random
from collections.abc import Mapping

import msgspec

from landline.workload.task import TOKEN_BYTES, CallShape, MessageShape, TaskProfile, recorded_profile

RECORDED_NAME = "codex"
_SIGMA = 1.0
"""Of the logarithm of an output's size: most outputs are short and a few are long. A choice, not a published figure."""
_TOOLS = 12
_TOOLS_SHARE = 0.4
"""Of what is sent before the first turn; in the recorded task it was about that."""
_REQUEST_BYTES = 600
_ANSWER_BYTES = 600
_LEAST_ARGUMENTS_BYTES = 40
_LEAST_OUTPUT_BYTES = 16


class PublishedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an agent's usual task, in tokens."""

    source: str
    calls: int
    first_tokens: int
    """Input of the first turn."""
    added_tokens: int
    """What a turn's input has more than the one before, on average: the call's arguments and its output."""
    written_tokens: int
    """Of them, what the model wrote."""


PUBLISHED: Mapping[str, PublishedFigures] = {
    "agentx": PublishedFigures(
        source=(
            "AgentX, published medians: 43 turns, 142,000 tokens in and 444 out a turn, over 96 % of the input cached. So a turn "
            "adds 4 % of the median input, and the first one has what makes the median stand in the middle."
        ),
        calls=43,
        first_tokens=19_900,
        added_tokens=5_680,
        written_tokens=444,
    ),
    "swe-bench": PublishedFigures(
        source=(
            "Codex on SWE-bench Pro, published means: 33 calls, 12,400 tokens of input at first and 84,000 at last. What the "
            "model writes was not published: 200 tokens a call are assumed."
        ),
        calls=33,
        first_tokens=12_400,
        added_tokens=2_170,
        written_tokens=200,
    ),
}
PROFILES = (RECORDED_NAME, *PUBLISHED)


def profile_named(name: str, calls: int | None = None, *, seed: int = 1) -> TaskProfile:
    """One of `PROFILES`; the same sizes for the same seed. `calls` in place of as many as are usual."""
    if name == RECORDED_NAME:
        profile = recorded_profile()
        return profile if calls is None else msgspec.structs.replace(profile, calls_made=calls)
    figures = PUBLISHED[name]
    count = figures.calls if calls is None else calls
    return _drawn(figures, count, random.Random(f"{name} {seed}"))


def _drawn(figures: PublishedFigures, count: int, source: random.Random) -> TaskProfile:
    """Outputs by a lognormal distribution, then stretched so that their mean is exactly what was published."""
    before = figures.first_tokens * TOKEN_BYTES
    tools = round(before * _TOOLS_SHARE / _TOOLS)
    messages = before - tools * _TOOLS - _REQUEST_BYTES
    arguments = max(_LEAST_ARGUMENTS_BYTES, figures.written_tokens * TOKEN_BYTES)
    output = (figures.added_tokens - figures.written_tokens) * TOKEN_BYTES
    drawn = [source.lognormvariate(0, _SIGMA) for _ in range(count)]
    stretch = output * count / sum(drawn)
    return TaskProfile(
        source=figures.source,
        messages=[MessageShape("developer", messages), MessageShape("user", _REQUEST_BYTES)],
        tools=[tools] * _TOOLS,
        calls=[CallShape(arguments, max(_LEAST_OUTPUT_BYTES, round(each * stretch))) for each in drawn],
        calls_made=count,
        answer_bytes=_ANSWER_BYTES,
    )
