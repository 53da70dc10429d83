"""`landline check --live`: sends real requests to every target of a configuration, and prints results as they come."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from landline.cli.live_probes import CHECKS, Check, CheckResult, Mark, Prober
from landline.cli.models import fetch_model
from landline.config import Config, EmbeddedTargetSettings, ScriptedTargetSettings, split_upstream
from landline.engine.catalog import DEFAULT_MODEL, ModelUnavailableError
from landline.engine.child import ChildFailedError
from landline.targets import make_target
from landline.terminal import one_line
from landline.upstream.target import Target

OPEN_TIMEOUT_S = 180.0
"""How long an embedded model may take to load, its own limit included; other targets open at once."""
ANY_MODEL = "any"
"""What targets of one model are asked for."""

OnFound = Callable[["Attempt", Check, CheckResult], None]

_SIGNS: dict[Mark, tuple[str, str]] = {"yes": ("✓", "green"), "no": ("✗", "red"), "lacks": ("\N{EN DASH}", "yellow")}


class Attempt(msgspec.Struct, eq=False):
    """One target asked for one model, and what was found so far."""

    target: str
    model: str | None
    """The upstream's name for it; None if the configuration names none."""
    found: dict[Check, CheckResult] = {}
    is_over: bool = False

    @property
    def name(self) -> str:
        return f"{self.target}:{self.model}" if self.model is not None else self.target

    @property
    def works(self) -> bool:
        return self.is_over and all(verdict.mark != "no" for verdict in self.found.values())


def run_live_check(config: Config, *, model: str | None, timeout_s: float) -> int:
    """Prints a table that fills as results come, then the reasons; the exit status: 0 if everything that is configured works."""
    _fetch_models(config)
    console = Console()
    attempts = list_attempts(config, model)
    if console.is_terminal:
        with Live(console=console, get_renderable=lambda: results_table(attempts), refresh_per_second=4):
            asyncio.run(try_all(config, attempts, timeout_s=timeout_s))
    else:
        asyncio.run(try_all(config, attempts, timeout_s=timeout_s, on_found=_print_line))
        console.print(results_table(attempts))
    for line in reasons(attempts):
        console.print(line)
    return 0 if all(attempt.works for attempt in attempts) else 1


def _fetch_models(config: Config) -> None:
    """A model that cannot be fetched is reported when its target is opened."""
    for target in config.targets.values():
        if isinstance(target, EmbeddedTargetSettings) and target.gguf is None:
            with contextlib.suppress(ModelUnavailableError):
                fetch_model(target.model or DEFAULT_MODEL)


def list_attempts(config: Config, model: str | None = None) -> list[Attempt]:
    """Every target with every model that it is configured for, once each.

    `model` is asked for where only `*` leads to a target that serves more than one.
    """
    pairs: dict[tuple[str, str | None], None] = {}
    for name, row in config.models.items():
        for reference in row.targets:
            upstream = split_upstream(reference)
            has_one = isinstance(config.targets[upstream.target], EmbeddedTargetSettings | ScriptedTargetSettings)
            asked = ANY_MODEL if has_one else upstream.model or (model if name == "*" else name)
            pairs[upstream.target, asked] = None
    named = {target for target, asked in pairs if asked is not None}
    return [Attempt(target, asked) for target, asked in pairs if asked is not None or target not in named]


async def try_all(
    config: Config, attempts: list[Attempt], *, timeout_s: float, on_found: OnFound | None = None
) -> None:
    """Asks all targets at once, and each for its models one after the other; `on_found` hears of each verdict."""
    by_target: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_target.setdefault(attempt.target, []).append(attempt)
    await asyncio.gather(*(_try_target(config, name, each, timeout_s, on_found) for name, each in by_target.items()))


def results_table(attempts: list[Attempt]) -> Table:
    """A row an attempt, a column a check; `…` is still to come."""
    checks: list[Check] = [
        check for check in CHECKS if check != "socket" or any("socket" in each.found for each in attempts)
    ]
    table = Table("target", "model", *checks, title="Live", title_justify="left")
    for attempt in attempts:
        cells = [_cell(attempt, check) for check in checks]
        table.add_row(attempt.target, Text(attempt.model or "?"), *cells)
    return table


def reasons(attempts: list[Attempt]) -> Iterator[Text]:
    """Why something does not work, or is not there, a line each."""
    for attempt in attempts:
        for check, verdict in attempt.found.items():
            if verdict.reason:
                sign, style = _SIGNS[verdict.mark]
                yield Text(f"{sign} {attempt.name}, {check}: {one_line(verdict.reason)}", style=style)


def _cell(attempt: Attempt, check: Check) -> Text:
    verdict = attempt.found.get(check)
    if verdict is None:
        return Text("" if attempt.is_over else "…")
    sign, style = _SIGNS[verdict.mark]
    return Text(f"{sign} {verdict.figure}".rstrip(), style=style)


def _print_line(attempt: Attempt, check: Check, verdict: CheckResult) -> None:
    typer.echo(f"{attempt.name}, {check}: {_SIGNS[verdict.mark][0]} {one_line(verdict.figure)}".rstrip(), err=True)


async def _try_target(
    config: Config, name: str, attempts: list[Attempt], timeout_s: float, on_found: OnFound | None
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        target = await _open(config, name, stack)
        for attempt in attempts:
            async with contextlib.aclosing(_verdicts(target, attempt.model, timeout_s)) as verdicts:
                async for check, verdict in verdicts:
                    attempt.found[check] = verdict
                    if on_found is not None:
                        on_found(attempt, check, verdict)
            attempt.is_over = True


async def _verdicts(
    target: Target | str, model: str | None, timeout_s: float
) -> AsyncGenerator[tuple[Check, CheckResult], None]:
    if isinstance(target, str):
        yield "answers", CheckResult("no", target)
    elif model is None:
        reason = "only `*` leads here, which names no model to request; name one with `--model NAME`"
        yield "answers", CheckResult("no", reason)
    else:
        async with contextlib.aclosing(Prober(target, model, timeout_s=timeout_s).run()) as found:
            async for each in found:
                yield each


async def _open(config: Config, name: str, stack: contextlib.AsyncExitStack) -> Target | str:
    """The target, ready and to be closed by the stack; or why it cannot be."""
    try:
        target = make_target(name, config.targets[name])
        stack.push_async_callback(target.close)
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await target.open()
    except (ModelUnavailableError, ChildFailedError) as error:
        return str(error)
    except TimeoutError:
        return f"not ready within {OPEN_TIMEOUT_S:g} s"
    return target
