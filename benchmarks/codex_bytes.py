"""How many bytes does a Codex task of twenty shell calls cost, over HTTP and over the socket?

The unmodified Codex CLI runs the same scripted task twice against the same Landline, once without and once with
WebSockets, through a relay that counts every byte of every connection, headers and frames included. Each shell call prints
about 3.6 kB of hexadecimal digits: as compressible as code, and different every time. The model is a script; nothing but
bytes is measured. A second table has an HTTP client that offers compression, which Codex does not: the Agents SDK for Python
as it is by default, twenty tool calls, with and without `[server] http_compression`; once as it is, once streaming.

    make clients && python benchmarks/codex_bytes.py
"""

import asyncio
import json
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from setting import describe_setting, write_result
from support.clients.codex import CODE_MODE_SLUG, PLAIN_TOOLS_SLUG, run_codex
from support.clients.node import CLIENTS_FOLDER
from support.fakes.chat import FakeChatServer
from support.scripts.chat import Answer, call, custom_call
from support.servers.byte_relay import ByteRelay, client_messages, client_requests
from support.servers.running import RunningServer
from support.servers.sidecar_chain import lookup_steps, run_agent

CALLS = 20
DIGITS = 3600
KINDS = {
    "unknown model: all tools in every request": "",
    f"`{PLAIN_TOOLS_SLUG}`: fewer tools in every request": PLAIN_TOOLS_SLUG,
    f"`{CODE_MODE_SLUG}`, code mode: tools once, in the history": CODE_MODE_SLUG,
}


@dataclass(frozen=True)
class Cost:
    """Bytes of one run on the wire, all connections together."""

    sent: int
    received: int
    payload: int
    """What was sent, without headers and frames and before compression."""


def main() -> None:
    rows: list[str] = []
    downloads: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeChatServer() as fake,
        RunningServer(_config(fake), Path(folder)) as landline,
    ):
        for number, (kind, like) in enumerate(KINDS.items()):
            http = _run(fake, landline, Path(folder) / f"http-{number}", like=like, websockets=False)
            socket = _run(fake, landline, Path(folder) / f"socket-{number}", like=like, websockets=True)
            rows.append(_row(kind, http, socket))
        (Path(folder) / "plain").mkdir()
        with RunningServer(_config(fake, "http_compression = false"), Path(folder) / "plain") as plain:
            for kind, is_streamed in (("a JSON body a call", False), ("an event stream a call", True)):
                before = _received_by_agent(fake, plain, is_streamed=is_streamed)
                after = _received_by_agent(fake, landline, is_streamed=is_streamed)
                downloads.append(f"| {kind} | {before:,} | {after:,} | **-{1 - after / before:.1%}** |")
    write_result("codex_bytes", _report(rows, downloads))


def _received_by_agent(fake: FakeChatServer, landline: RunningServer, *, is_streamed: bool) -> int:
    """Bytes down of a run of the Agents SDK over HTTP, on all connections."""
    scenario = fake.scenario(lookup_steps())
    with ByteRelay(landline.port) as relay:
        asyncio.run(run_agent(relay.base_url, scenario.model, is_streamed=is_streamed))
    return relay.received_bytes


def _config(fake: FakeChatServer, server_setting: str = "") -> str:
    return f"""
[server]
{server_setting}
[targets.fake]
dialect = "chat_completions"
base_url = "{fake.base_url}"
[models."*"]
targets = ["fake"]
"""


def _run(fake: FakeChatServer, landline: RunningServer, folder: Path, *, like: str, websockets: bool) -> Cost:
    commands = [_command(number) for number in range(CALLS)]
    if like == CODE_MODE_SLUG:
        scripts = [
            f"const r = await tools.exec_command({json.dumps({'cmd': each})}); text(r.output);" for each in commands
        ]
        steps = [custom_call("exec", script) for script in scripts]
    else:
        steps = [call("exec_command", cmd=each) for each in commands]
    scenario = fake.scenario([*steps, Answer("All done.")])
    work_folder = folder / "work"
    work_folder.mkdir(parents=True)
    with ByteRelay(landline.port) as relay:
        run = run_codex(
            "Print all the digits.",
            base_url=relay.base_url,
            model=scenario.model,
            home=folder / "home",
            work_folder=work_folder,
            websockets=websockets,
            like=like,
        )
    assert run.answer == "All done.", run.report
    assert len(scenario.received) == CALLS + 1
    scenario.assert_conversation()
    return Cost(relay.sent_bytes, relay.received_bytes, _payload_bytes(relay))


def _command(number: int) -> str:
    """A shell command that prints digits, the same ones in every run."""
    program = f"import random; random.seed({number}); print('%0{DIGITS}x' % random.getrandbits({DIGITS * 4}))"
    return shlex.join([sys.executable, "-c", program])


def _payload_bytes(relay: ByteRelay) -> int:
    total = 0
    for connection in relay.connections:
        if connection.is_websocket:
            total += sum(len(message) for message in client_messages(connection))
        else:
            total += sum(len(body) for _, body in client_requests(connection))
    return total


def _row(kind: str, http: Cost, socket: Cost) -> str:
    less_sent = 100 * (1 - socket.sent / http.sent)
    less_received = 100 * (1 - socket.received / http.received)
    return (
        f"| {kind} | {http.sent:,} | {socket.sent:,} | **-{less_sent:.1f} %** | {socket.payload:,} "
        f"| {http.received:,} | {socket.received:,} | {-less_received:+.1f} % |"
    )


def _report(rows: list[str], downloads: list[str]) -> list[str]:
    codex = json.loads((CLIENTS_FOLDER / "node_modules" / "@openai" / "codex" / "package.json").read_text())["version"]
    return [
        f"# Bytes of a Codex task of {CALLS} shell calls",
        "",
        f"`python benchmarks/codex_bytes.py`: Codex CLI {codex}, unmodified, the same scripted task over HTTP and over the",
        f"socket (permessage-deflate as agreed by both), {DIGITS} hexadecimal digits a tool answer, all bytes of all connections.",
        "",
        *describe_setting("landline", "uvicorn", "websockets", "openai-agents", "openai"),
        "",
        "| Codex sends | up, HTTP | up, socket | less | socket before deflate | down, HTTP | down, socket | less |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Over HTTP Codex offers no compression of answers. A client that does, openai-agents as it is by default, 20 tool calls:",
        "",
        "| answers | down, plain | down, compressed | less |",
        "| --- | --- | --- | --- |",
        *downloads,
        "",
        "Not shown: time, and TLS, which adds a few bytes to each record on both sides.",
    ]


if __name__ == "__main__":
    main()
