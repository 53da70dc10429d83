"""`landline agent`: the command line around `run_agent`."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from landline.agent.console import ConsoleReporter, make_console
from landline.agent.exchange import Transport
from landline.agent.folder_tools import DEFAULT_OUTPUT_BYTES, folder_tools
from landline.agent.line import Endpoint
from landline.agent.loop import AgentSettings, run_agent
from landline.terminal import one_line

DEFAULT_OUTPUT_TOKENS = 2048
"""A model that repeats itself ends there; one that reasons has room for it."""
DEFAULT_URL = "http://127.0.0.1:8080/v1"


def agent_command(
    question: Annotated[str, typer.Argument(help="What to find out about the folder.")],
    *,
    folder: Annotated[
        Path, typer.Option("--dir", exists=True, file_okay=False, readable=True, help="The folder its tools may read.")
    ] = Path(),
    url: Annotated[str, typer.Option(help="Any Responses server, with its version.")] = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="Default: the first one the server lists.")] = None,
    transport: Annotated[
        Transport, typer.Option(help="ws: one socket, only what is new; http: full history each turn.")
    ] = "ws",
    max_turns: Annotated[int, typer.Option(min=1, help="Turns until the model has given up.")] = 12,
    max_output_tokens: Annotated[
        int, typer.Option(min=16, help="The most tokens that the model may write in a turn, its reasoning included.")
    ] = DEFAULT_OUTPUT_TOKENS,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="0 is steadiest; default: the server's.")
    ] = None,
    tool_bytes: Annotated[
        int, typer.Option(min=200, help="The longest tool answer; small for small contexts.")
    ] = DEFAULT_OUTPUT_BYTES,
    look_first: Annotated[
        bool, typer.Option("--look-first/--free-start", help="Whether the first turn must call a tool.")
    ] = True,
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable that holds the key.")] = None,
) -> None:
    """Answers a question about a folder with a small agent, and shows what each turn sent and saved.

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
