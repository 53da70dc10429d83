"""What the demo is asked to do, the server's configuration for it, and how it says both."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from landline.config import Config, Overrides, Problem, profile_at, settle_table
from landline.workload import LinkShape, ModelPace, Task, model_s

DEMO_MODEL = "demo"
_TARGET = "upstream"


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `landline demo`, read and checked."""

    line: str
    """What the line is called."""
    shape: LinkShape
    calls: int | None = None
    """Tool calls of the task; None for as many as were recorded."""
    pace: ModelPace
    upstream: str | None = None
    """The base URL of an API to ask in place of the script."""
    model: str = DEMO_MODEL
    profile: str | None = None
    api_key_env: str | None = None
    together: bool
    """Whether both runs go at once: they share this process, which tells once the model and the line take almost no time."""
    port: int = 0
    waits: bool
    """Whether the server stays open after the runs, until a signal."""


def demo_config(options: DemoOptions, transcript: Path, environment: Mapping[str, str]) -> Config | list[Problem]:
    """One target, the script or the user's API; nothing is stored beyond the process."""
    target: dict[str, object] = {"dialect": "scripted", "transcript": str(transcript)}
    if options.upstream is not None:
        profile = options.profile or profile_at(options.upstream)
        target = {"base_url": options.upstream}
        target |= {"profile": profile} if profile is not None else {"dialect": "chat_completions"}
        if options.api_key_env is not None:
            target["api_key_env"] = options.api_key_env
    table = {
        "store": {"url": "memory"},
        "targets": {_TARGET: target},
        "models": {options.model: {"targets": [_TARGET]}},
    }
    return settle_table(table, environment, Overrides(host="127.0.0.1", port=options.port))


def describe(options: DemoOptions, task: Task, monitor_url: str) -> list[str]:
    """What is about to run: the task, the line, the model, and where to watch it."""
    shape = options.shape
    line = f"{rate(shape.uplink_bits_per_s)} up, {rate(shape.downlink_bits_per_s)} down, {_ms(shape.round_trip_s)} round trip"
    if options.upstream is None:
        pace = options.pace
        whole_s = model_s(task, pace)
        model = f"a script: {pace.first_token_ms:g} ms to its first token, {pace.tokens_per_s:g} tokens/s, {whole_s:.1f} s in all"
    else:
        model = f"{options.model} at {options.upstream}"
    return [
        f"Task     {len(task.steps)} tool calls in the sizes of a recorded Codex task, made-up text",
        f"Line     {options.line}: {line}",
        f"Model    {model}",
        f"Monitor  {monitor_url}",
    ]


def limits(options: DemoOptions) -> list[str]:
    """What the figures do not show."""
    modelled = "rate, delay and TCP's slow start" if options.shape.has_slow_start else "rate and delay"
    order = "Both ran at once" if options.together else "One ran after the other"
    lines = [
        f"{order} against one Landline in this process, on a line each.",
        f"The lines are models of {modelled}, without loss and TLS.",
    ]
    if options.upstream is None:
        lines.append("The model is a script: what a warm cache saves is not in it. Tools took no time.")
    else:
        lines.append("The model may have said different things in the two runs. Tools took no time.")
    return lines


def rate(bits_per_s: float) -> str:
    """`10 Mbit/s`."""
    for name, unit in (("Gbit/s", 1e9), ("Mbit/s", 1e6)):
        if bits_per_s >= unit:
            return f"{bits_per_s / unit:g} {name}"
    return f"{bits_per_s / 1e3:g} kbit/s"


def _ms(duration_s: float) -> str:
    return f"{duration_s * 1000:g} ms"
