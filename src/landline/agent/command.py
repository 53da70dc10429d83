"""`landline agent`: the command line around `run_agent`, and its output on a terminal or in a pipe."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from landline.agent.answer import TokenCounts
from landline.agent.connection import Endpoint, Transport
from landline.agent.folder_tools import DEFAULT_OUTPUT_BYTES, folder_tools
from landline.agent.loop import AgentSettings, CallReport, RunResult, TurnFigures, run_agent
from landline.terminal import one_line, printable

DEFAULT_OUTPUT_TOKENS = 2048
"""A model that repeats itself ends there; one that reasons has room for it."""
DEFAULT_URL = "http://127.0.0.1:8080/v1"


def agent_command(  # noqa: PLR0913 - each is an option of the command
    question: Annotated[str, typer.Argument(help="The question about the folder.")],
    *,
    folder: Annotated[
        Path, typer.Option("--dir", exists=True, file_okay=False, readable=True, help="The folder its tools may read.")
    ] = Path(),
    url: Annotated[
        str, typer.Option(help="The API's base URL with its version, of any Responses server.")
    ] = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="Default: the first model that the server lists.")] = None,
    transport: Annotated[
        Transport, typer.Option(help="ws: one socket, only new items; http: the full history each turn.")
    ] = "ws",
    max_turns: Annotated[int, typer.Option(min=1, help="The most turns before the run ends without an answer.")] = 12,
    max_output_tokens: Annotated[
        int, typer.Option(min=16, help="The most tokens that the model may write in a turn, its reasoning included.")
    ] = DEFAULT_OUTPUT_TOKENS,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="0 varies least; default: the server's.")
    ] = None,
    tool_bytes: Annotated[
        int, typer.Option(min=200, help="The largest output of a tool; keep it small for small contexts.")
    ] = DEFAULT_OUTPUT_BYTES,
    look_first: Annotated[
        bool, typer.Option("--look-first/--free-start", help="Whether the first turn must call a tool.")
    ] = True,
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable that holds the key.")] = None,
) -> None:
    """Answer a question about a folder with a small agent, and show what each turn sent and saved.

    Exit status: 0 answered, 1 gave up or failed, 2 wrong usage.
    """
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"expected http:// or https://, got {url!r}", param_hint="--url")
    endpoint = Endpoint(base_url=url, transport=transport, api_key=_api_key(api_key_env))
    settings = AgentSettings(
        model=model,
        max_turns=max_turns,
        max_output_tokens=max_output_tokens,
        temperature=temperature,
        must_look_first=look_first,
    )
    tools = folder_tools(folder, output_bytes=tool_bytes)
    result = asyncio.run(
        run_agent(question, endpoint=endpoint, tools=tools, settings=settings, reporter=ConsoleReporter())
    )
    if result.outcome != "answered":
        make_console(stderr=True).print(one_line(result.message), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1)


def _api_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise typer.BadParameter(f"the environment variable {variable!r} is not set", param_hint="--api-key-env")
    return key


_PIPE_WIDTH = 160
_MAX_ARGUMENTS = 120


class ConsoleReporter:
    """Writes to standard output; control characters are removed from what the model or files wrote."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or make_console()
        self._is_in_line = False

    def turn_started(self, number: int) -> None:
        self._line(Text(f"turn {number}", style="bold"))

    def text(self, delta: str) -> None:
        shown = printable(delta)
        if shown:
            self._console.print(Text(shown), end="", soft_wrap=True)
            self._is_in_line = not shown.endswith("\n")

    def note(self, text: str) -> None:
        self._line(Text(f"  note  {one_line(text)}", style="yellow"))

    def tool_ran(self, call: CallReport) -> None:
        arguments = one_line(call.arguments)
        if len(arguments) > _MAX_ARGUMENTS:
            arguments = arguments[:_MAX_ARGUMENTS] + "…"
        gave = f"{'error, ' if call.is_error else ''}{call.output_bytes:,} B"
        self._line(
            Text(f"  tool  {one_line(call.name)} {arguments} → {gave}", style="red" if call.is_error else "cyan")
        )

    def turn_ended(self, turn: TurnFigures) -> None:
        if turn.first_event_s is None:
            self._line(Text(f"  no answer, {turn.total_s:.3f} s", style="dim"))
            return
        what = "new items only" if turn.is_delta else "full history"
        wire = "" if turn.wire_sent_bytes is None else f", {turn.wire_sent_bytes:,} B on the wire"
        self._line(
            Text(
                f"  sent  {turn.payload_bytes:,} B ({turn.transport}, {what}{wire}); "
                f"without a session {turn.stateless_bytes:,} B",
                style="dim",
            )
        )
        self._line(Text(f"  took  {_tokens(turn.tokens)}; {_times(turn)}", style="dim"))

    def run_ended(self, result: RunResult) -> None:
        self._line(Text(""))
        if any(turn.first_event_s is not None for turn in result.turns):
            self._console.print(_totals(result))

    def _line(self, text: Text) -> None:
        if self._is_in_line:
            self._console.print()
            self._is_in_line = False
        self._console.print(text, soft_wrap=True)


def make_console(*, stderr: bool = False) -> Console:
    """A console whose tables are not squeezed into 80 columns when its output is piped."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=_PIPE_WIDTH)


def _tokens(tokens: TokenCounts | None) -> str:
    if tokens is None:
        return "no token counts"
    cached = "unknown" if tokens.cached is None else f"{tokens.cached:,}"
    return f"{tokens.input:,} tokens in, {cached} cached, {tokens.output:,} out"


def _times(turn: TurnFigures) -> str:
    first_delta = "" if turn.first_delta_s is None else f", first output {turn.first_delta_s:.3f} s"
    return f"first event {turn.first_event_s:.3f} s{first_delta}, total {turn.total_s:.3f} s"


def _totals(result: RunResult) -> Table:
    """Fits into 80 columns up to a megabyte; bytes are JSON except those on the wire."""
    table = Table(
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption=f"saved: {'bytes on the wire' if result.wire_sent_bytes is not None else 'JSON sent'} against stateless JSON",
        caption_justify="left",
    )
    for name in ("turn", "sent B", "wire B", "stateless B", "saved %", "in", "cached", "out", "first s", "all s"):
        table.add_column(name, justify="right", no_wrap=True)
    for turn in result.turns:
        first = "" if turn.first_event_s is None else f"{turn.first_event_s:.3f}"
        table.add_row(*_row(str(turn.number), (turn,), first))
    table.add_section()
    table.add_row(*_row("all", result.turns, ""), style="bold")
    return table


def _row(name: str, turns: tuple[TurnFigures, ...], first: str) -> tuple[str, ...]:
    sent = sum(turn.payload_bytes for turn in turns)
    wire = _known_sum([turn.wire_sent_bytes for turn in turns])
    stateless = sum(turn.stateless_bytes for turn in turns)
    uploaded = sent if wire is None else wire
    return (
        name,
        f"{sent:,}",
        _sum([turn.wire_sent_bytes for turn in turns]),
        f"{stateless:,}",
        f"{100 * (1 - uploaded / stateless):.1f}" if sent else "-",  # nothing sent is nothing saved
        _sum([turn.tokens and turn.tokens.input for turn in turns]),
        _sum([turn.tokens and turn.tokens.cached for turn in turns]),
        _sum([turn.tokens and turn.tokens.output for turn in turns]),
        first,
        f"{sum(turn.total_s for turn in turns):.3f}",
    )


def _sum(numbers: list[int | None]) -> str:
    """The sum, or a question mark where one of them is not known."""
    known = _known_sum(numbers)
    return "?" if known is None else f"{known:,}"


def _known_sum(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def make_agent() -> typer.Typer:
    """The agent as a command line of its own, called with what follows `landline agent`."""
    agent = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    agent.command()(agent_command)
    return agent
