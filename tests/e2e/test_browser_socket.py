"""A real browser opens a socket; it fails one for which it offered subprotocols and none was chosen."""

import pytest
from playwright.sync_api import Browser

from support.clients.browser import chromium
from support.fakes.chat import Script
from support.scripts.chat import Answer
from support.servers.running import RunningServer

__all__ = ["chromium"]

pytestmark = pytest.mark.client

ASK = """
([url, offered, model]) => new Promise((resolve) => {
    const line = new WebSocket(url, offered);
    line.onopen = () => line.send(JSON.stringify({type: "response.create", model, input: "Say it.", store: false}));
    line.onerror = () => resolve("the connection failed");
    line.onmessage = (message) => {
        const event = JSON.parse(message.data);
        if (event.type === "error" || event.type.match(/^response.(completed|failed|incomplete)$/))
            resolve([line.protocol, event.type]);
    };
})
"""


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], ""),
        (["responses"], "responses"),
        (["realtime", "openai-insecure-api-key.none"], "realtime"),
        (["mine"], "mine"),
    ],
)
def test_a_browser_gets_its_answer_over_a_socket(
    chromium: Browser, landline: RunningServer, scripted: Script, offered: list[str], chosen: str
) -> None:
    model = scripted(Answer("Said.")).model
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{landline.port}/")
    url = f"ws://127.0.0.1:{landline.port}/v1/responses"
    assert page.evaluate(ASK, [url, offered, model]) == [chosen, "response.completed"]
    page.close()
