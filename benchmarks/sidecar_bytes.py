"""How many bytes does a sidecar save an agent that sends its whole history with every request?

The Agents SDK for Python as it is by default (HTTP, full history) runs the same scripted task of twenty tool calls twice: at a
Landline directly, and at `landline sidecar` in front of the same Landline. A relay counts every byte that goes to that
Landline, headers, handshake and frames included. Each tool prints 3.6 kB of hexadecimal digits: as compressible as code, and
different every time. Both Landlines are processes of their own; the model is a script, and it must see the same
conversation both ways.

    python benchmarks/sidecar_bytes.py
"""

import asyncio
import tempfile
from pathlib import Path

from setting import describe_setting, write_result
from support.fakes.chat import FakeChatServer
from support.servers.byte_relay import ByteRelay, client_messages, client_requests
from support.servers.sidecar_chain import CALLS, conversation, lookup_steps, run_agent, sidecar_chain


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeChatServer() as fake,
        sidecar_chain(fake, Path(folder)) as chain,
    ):
        direct, through = fake.scenario(lookup_steps()), fake.scenario(lookup_steps())
        with ByteRelay(chain.server.port) as relay:
            asyncio.run(run_agent(relay.base_url, direct.model))
        asyncio.run(run_agent(chain.sidecar.base_url, through.model))
        assert conversation(through) == conversation(direct)
        rows = [_row("HTTP, direct", relay, relay), _row("through the sidecar", chain.relay, relay)]
    write_result("sidecar_bytes", _report(rows))


def _row(name: str, relay: ByteRelay, direct: ByteRelay) -> str:
    less = f"**-{1 - relay.sent_bytes / direct.sent_bytes:.1%}**" if relay is not direct else "-"
    payload = sum(
        sum(map(len, client_messages(each)))
        if each.is_websocket
        else sum(len(body) for _, body in client_requests(each))
        for each in relay.connections
    )
    return f"| {name} | {relay.sent_bytes:,} | {less} | {payload:,} | {relay.received_bytes:,} |"


def _report(rows: list[str]) -> list[str]:
    return [
        "# Bytes that a sidecar saves",
        "",
        f"`python benchmarks/sidecar_bytes.py`: openai-agents by default (HTTP, full history), {CALLS} tool calls, bytes on the",
        "leg to the server on all connections. The file's head says exactly what is counted.",
        "",
        *describe_setting("landline", "openai-agents", "openai", "aiohttp", "websockets"),
        "",
        "| way | sent to the server | against HTTP | of it JSON, before compression | sent back |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Not shown: the bytes between client and sidecar, which stay on the machine; TCP and TLS framing; tools whose output",
        "compresses better or worse; answers of a real model.",
    ]


if __name__ == "__main__":
    main()
