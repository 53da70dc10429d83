"""Real, unmodified HTTP clients read compressed event streams, and no event waits for the next one."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from contextlib import asynccontextmanager

import aiohttp
import pytest
from openai import AsyncOpenAI

from landline.compression_budget import CompressionBudget
from landline.session.turn import Turn, TurnProgressed
from landline.wire.model_events import Finished, TextDelta, UsageReported
from support.clients.node import NODE
from support.servers.edge import composed, create, running_edge

pytestmark = pytest.mark.client

WORDS = ["one ", "two ", "three "]
TIMEOUT_S = 20
FETCH = """
const [url, body] = process.argv.slice(1);
const answer = await fetch(url, {method: "POST", headers: {"content-type": "application/json"}, body});
console.log("coding: " + answer.headers.get("content-encoding"));
const text = new TextDecoder();
for await (const chunk of answer.body) console.log(text.decode(chunk, {stream: true}));
"""


class PatientModel:
    """Says a word, then waits until its reader has read it."""

    def __init__(self) -> None:
        self._is_read = asyncio.Event()

    def was_read(self) -> None:
        self._is_read.set()

    async def script(self, turn: Turn):
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        for word in WORDS:
            yield TurnProgressed(composer.feed([TextDelta(word)]))
            await asyncio.wait_for(self._is_read.wait(), TIMEOUT_S)
            self._is_read.clear()
        composer.feed([UsageReported(input_tokens=3, output_tokens=3), Finished()])
        yield composer.close(0.0)


@asynccontextmanager
async def patient_edge():
    model = PatientModel()
    async with running_edge(model.script, http_compression=CompressionBudget()) as edge:
        yield edge, model


async def read_words(process: Process, model: PatientModel) -> str:
    """What the process prints until its end; the model hears of each word as it is printed."""
    assert process.stdout is not None
    lines = []
    async for line in process.stdout:
        lines.append(line.decode())
        if "output_text.delta" in lines[-1] and "data:" in lines[-1]:
            model.was_read()
    await process.wait()
    return "".join(lines)


@pytest.mark.parametrize("accepted", [None, "gzip", "identity"])
async def test_the_openai_client_reads_every_event_at_once(accepted: str | None):
    headers = {"accept-encoding": accepted} if accepted is not None else {}
    words = []
    async with patient_edge() as (edge, model):
        client = AsyncOpenAI(base_url=f"{edge.http_url}/v1", api_key="none", default_headers=headers)
        raw = await client.responses.with_raw_response.create(model="demo", input="hi", stream=True)
        async for event in raw.parse():
            if event.type == "response.output_text.delta":
                words.append(event.delta)
                model.was_read()
        assert raw.headers.get("content-encoding") == {None: "gzip", "identity": None}.get(accepted, accepted)
    assert words == WORDS


async def test_aiohttp_reads_every_event_at_once():
    deltas = 0
    async with (
        patient_edge() as (edge, model),
        aiohttp.ClientSession() as http,
        http.post(f"{edge.http_url}/v1/responses", json=create(stream=True)) as answer,
    ):
        assert answer.headers["content-encoding"] == "gzip"
        async for line in answer.content:
            if line.startswith(b"event: response.output_text.delta"):
                deltas += 1
                model.was_read()
    assert deltas == len(WORDS)


@pytest.mark.parametrize(("flag", "coding"), [("--compressed", "content-encoding: "), ("--include", "")])
async def test_curl_prints_every_event_at_once(flag: str, coding: str):
    async with patient_edge() as (edge, model):
        command = ["curl", "--silent", "--no-buffer", "--include", flag, f"{edge.http_url}/v1/responses"]
        process = await asyncio.create_subprocess_exec(*command, "--data", json.dumps(create(stream=True)), stdout=PIPE)
        printed = await asyncio.wait_for(read_words(process, model), TIMEOUT_S)
    assert coding in printed
    assert ("content-encoding" in printed) == bool(coding)
    assert printed.endswith("data: [DONE]\n\n")


async def test_fetch_of_node_reads_every_event_at_once():
    async with patient_edge() as (edge, model):
        command = [str(NODE), "--input-type=module", "--eval", FETCH, f"{edge.http_url}/v1/responses"]
        process = await asyncio.create_subprocess_exec(*command, json.dumps(create(stream=True)), stdout=PIPE)
        printed = await asyncio.wait_for(read_words(process, model), TIMEOUT_S)
    assert printed.startswith("coding: gzip\n")
    assert "data: [DONE]" in printed
