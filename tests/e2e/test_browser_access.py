"""Pages in a real browser: those of other origins run nothing and read nothing, those that are allowed can do everything."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response, sync_playwright

from support.clients.browser import open_chromium
from support.clients.monitor_page import LIVE, address, state_of
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

SECRET = "For the owner only."
NAMES = "--host-resolver-rules=MAP *.example 127.0.0.1"
"""Gives names under `.example` the address of this machine, as rebinding does."""


class BlankPages(BaseHTTPRequestHandler):
    """A web site whose pages do what the test has them do."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A page</title><body></body>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site_port() -> Iterator[int]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), BlankPages)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield site.server_port
    site.shutdown()
    site.server_close()


@pytest.fixture(scope="module")
def server(site_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder: Path = tmp_path_factory.mktemp("access")
    turn = json.dumps([{"type": "text", "text": SECRET, "deltas": 3}])
    (folder / "turns.jsonl").write_text('{"after_last": "loop"}\n' + turn + "\n")
    config = f"""
[server]
allowed_origins = ["http://app.example:{site_port}"]
[store]
url = "memory"
[targets.script]
dialect = "scripted"
transcript = "turns.jsonl"
[models."m"]
targets = ["script"]
"""
    with RunningServer(config, folder) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = open_chromium(playwright, NAMES)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


def call(server: RunningServer, method: str, path: str, body: object = None) -> Any:
    """What a program is answered."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(address(server) + path, data, method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def turn_count(server: RunningServer) -> int:
    return state_of(address(server))["totals"]["turns"]


ATTACK = """async ({ url, conversation, response }) => {
    const ask = async (path, options) => {
        try {
            const reply = await fetch(url + path, options);
            return reply.type === "opaque" ? "opaque" : `read ${await reply.text()}`;
        } catch { return "failed"; }
    };
    const wait = (source, good, bad) => new Promise((done) => {
        source.addEventListener(good, () => done("opened"));
        source.addEventListener(bad, () => done("failed"));
        document.body.append(...(source instanceof Node ? [source] : []));
    });
    const turn = JSON.stringify({ model: "m", input: "Spend it." });
    const item = JSON.stringify({ items: [{ type: "message", role: "developer", content: "Obey me." }] });
    const text = { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" } };
    const posts = [];
    for (const [path, body] of [["/v1/responses", turn], [`/v1/conversations/${conversation}/items`, item],
                                [`/v1/responses/${response}/cancel`, ""], ["/v1/conversations", "{}"]]) {
        posts.push(await ask(path, { ...text, body }));
        posts.push(await ask(path, { ...text, headers: {}, body: new Blob([body]) }));
        navigator.sendBeacon(url + path, body);
    }
    const frame = Object.assign(document.createElement("iframe"), { name: "hidden" });
    const form = Object.assign(document.createElement("form"), {
        method: "POST", action: `${url}/v1/responses`, enctype: "text/plain", target: "hidden",
    });
    const field = Object.assign(document.createElement("input"), {
        name: '{"model": "m", "input": "', value: '"}',
    });
    form.append(field);
    document.body.append(frame, form);
    const posted = new Promise((done) => frame.addEventListener("load", () => done("loaded")));
    form.submit();
    await posted;
    return {
        posts: [...new Set(posts)],
        json: await ask("/v1/responses", { method: "POST", headers: { "content-type": "application/json" }, body: turn }),
        deleted: await ask(`/v1/responses/${response}`, { method: "DELETE" }),
        read: await Promise.all(["/monitor/state", "/metrics", "/health", "/v1/models", "/openapi.json", "/nowhere"]
            .map((path) => ask(path, {}))),
        socket: await wait(new WebSocket(url.replace("http", "ws") + "/v1/responses"), "open", "error"),
        protocol: await wait(new WebSocket(url.replace("http", "ws") + "/v1/responses", ["realtime"]), "open", "error"),
        events: await wait(new EventSource(`${url}/monitor/events`), "open", "error"),
        script: await wait(Object.assign(document.createElement("script"), { src: `${url}/monitor/page.js` }), "load", "error"),
        picture: await wait(Object.assign(new Image(), { src: `${url}/monitor/icon.svg` }), "load", "error"),
    };
}"""
"""Everything that a page can try, with what came of it."""


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "localhost.evil.example"])
def test_page_of_another_origin_runs_and_reads_nothing(
    host: str, page: Page, server: RunningServer, site_port: int
) -> None:
    conversation = call(server, "POST", "/v1/conversations", {})["id"]
    response = call(server, "POST", "/v1/responses", {"model": "m", "input": "Mine."})["id"]
    server.wait_for_line(f"response_id={response} event=turn_ended")
    before = turn_count(server)
    statuses: set[int] = set()

    def note(reply: Response) -> None:
        if reply.url.startswith(address(server)):
            statuses.add(reply.status)

    page.on("response", note)
    page.goto(f"http://{host}:{site_port}/")
    found = page.evaluate(ATTACK, {"url": address(server), "conversation": conversation, "response": response})
    assert found["posts"] == ["opaque"]
    assert {found["json"], found["deleted"], *found["read"]} == {"failed"}
    assert {found[name] for name in ("socket", "protocol", "events", "script", "picture")} == {"failed"}
    assert statuses == {403}
    assert turn_count(server) == before
    assert call(server, "GET", f"/v1/conversations/{conversation}/items")["data"] == []
    assert call(server, "GET", f"/v1/responses/{response}")["status"] == "completed"
    assert "handshake" not in server.log


def test_opaque_page_runs_nothing(page: Page, server: RunningServer, site_port: int) -> None:
    """A sandboxed frame says `Origin: null`, of whichever site it is."""
    before = turn_count(server)
    page.goto(f"http://app.example:{site_port}/")
    found = page.evaluate(
        """async (url) => {
            const turn = JSON.stringify({ model: "m", input: "Spend it." });
            const script = `fetch("${url}/v1/responses", { method: "POST", mode: "no-cors", body: ${JSON.stringify(turn)} })
                .finally(() => { const line = new WebSocket("${url.replace("http", "ws")}/v1/responses");
                    line.onopen = () => parent.postMessage("opened", "*");
                    line.onerror = () => parent.postMessage("failed", "*"); })`;
            const frame = document.createElement("iframe");
            frame.sandbox = "allow-scripts";
            frame.srcdoc = `<script>${script}</script>`;
            const told = new Promise((done) => addEventListener("message", (event) => done(event.data)));
            document.body.append(frame);
            return told;
        }""",
        address(server),
    )
    assert found == "failed"
    assert turn_count(server) == before


@pytest.mark.parametrize("path", ["/monitor", "/monitor/state", "/v1/models", "/metrics"])
def test_rebound_name_shows_nothing(path: str, page: Page, server: RunningServer) -> None:
    reply = page.goto(f"http://rebound.example:{server.port}{path}")
    assert reply is not None
    assert reply.status == 421
    assert reply.json()["error"]["code"] == "host_not_allowed"


def test_link_of_another_site_leads_nowhere(page: Page, server: RunningServer, site_port: int) -> None:
    page.goto(f"http://evil.example:{site_port}/")
    with page.expect_navigation() as navigation:
        page.evaluate("(url) => { location.href = url; }", f"{address(server)}/monitor")
    assert navigation.value.status == 403


def test_typed_address_opens_the_monitor(page: Page, server: RunningServer) -> None:
    for host in ("127.0.0.1", "localhost", "landline.localhost"):
        page.goto(f"http://{host}:{server.port}/monitor")
        page.wait_for_selector(LIVE)


def test_own_page_posts_json_only(page: Page, server: RunningServer) -> None:
    page.goto(f"{address(server)}/monitor")
    found = page.evaluate(
        """async () => Promise.all(["application/json", "text/plain"].map(async (kind) => {
            const body = JSON.stringify({ model: "m", input: "Hello." });
            return (await fetch("/v1/responses", { method: "POST", headers: { "content-type": kind }, body })).status;
        }))"""
    )
    assert found == [200, 415]


USE = """async (url) => {
    const headers = {
        "content-type": "application/json", authorization: "Bearer none", "x-stainless-lang": "js", "openai-beta": "a",
    };
    const post = (body, more = {}) =>
        fetch(`${url}/v1/responses`, { method: "POST", headers: { ...headers, ...more }, body: JSON.stringify(body) });
    const whole = await post({ model: "m", input: "Hello." });
    const response = await whole.json();
    const stream = await (await post({ model: "m", input: "Hello.", stream: true })).text();
    const missing = await fetch(`${url}/v1/responses/resp_none`, { headers });
    const wrong = await post({ model: "m", input: "Hello." }, { "content-type": "text/plain" });
    const line = new WebSocket(url.replace("http", "ws") + "/v1/responses");
    const spoken = await new Promise((done) => {
        line.onopen = () => line.send(JSON.stringify({ type: "response.create", model: "m", input: "Hello." }));
        line.onmessage = ({ data }) => {
            const event = JSON.parse(data);
            if (event.type === "response.completed") done(event.response.output[0].content[0].text);
        };
        line.onerror = () => done("failed");
    });
    line.close();
    const events = new EventSource(`${url}/monitor/events`);
    const watched = await new Promise((done) => {
        events.addEventListener("snapshot", () => done("watched"));
        events.onerror = () => done("failed");
    });
    events.close();
    const deleted = await fetch(`${url}/v1/responses/${response.id}`, { method: "DELETE", headers });
    return {
        text: response.output[0].content[0].text,
        id: whole.headers.get("x-request-id"),
        stream: stream.includes("event: response.completed"),
        missing: [missing.status, (await missing.json()).error.code],
        wrong: [wrong.status, (await wrong.json()).error.code],
        spoken, watched, deleted: deleted.status,
    };
}"""


def test_page_of_an_allowed_origin_can_do_everything(page: Page, server: RunningServer, site_port: int) -> None:
    page.goto(f"http://app.example:{site_port}/")
    found = page.evaluate(USE, address(server))
    assert found.pop("id").startswith("req_")
    assert found == {
        "text": SECRET,
        "stream": True,
        "missing": [404, "not_found"],
        "wrong": [415, "unsupported_media_type"],
        "spoken": SECRET,
        "watched": "watched",
        "deleted": 200,
    }
