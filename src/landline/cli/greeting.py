"""What `landline serve` prints once it listens: where, which model, and a line to paste for each kind of client."""

import json
import shlex

ACCESS = (
    "Web pages of other origins and names other than loopback ones are refused unless `allowed_origins` and `allowed_hosts` "
    "in `[server]` name them (docs/browsers.md)."
)
"""What somebody who puts a web app or a proxy in front has to know."""

_ENDINGS = '("response.completed", "response.incomplete", "response.failed", "error")'


def greeting(
    host: str, port: int, model: str, *, sockets: bool = True, monitor: bool = True, note: str | None = None
) -> str:
    """The text; every command in it works as it stands in a POSIX shell."""
    base_url = f"http://{url_host(host)}:{port}/v1"
    lines = [
        f"Landline listens on {base_url}",
        f"Model: {model}",
        "",
        "Try it (for the second, pip install 'openai[realtime]'; for the third, npm install -g @openai/codex):",
        f"  {curl_command(base_url, model)}",
        f"  {python_command(base_url, model) if sockets else python_http_command(base_url, model)}",
        f"  {codex_command(base_url, model, sockets=sockets)}",
    ]
    if monitor:
        lines += ["", f"See what the line saves: {base_url.removesuffix('/v1')}/monitor"]
    lines += ["", ACCESS]
    if note is not None:
        lines += ["", note]
    return "\n".join(lines)


def curl_command(base_url: str, model: str) -> str:
    body = json.dumps({"model": model, "input": "Say hello."})
    return f"curl -s {base_url}/responses -H 'content-type: application/json' -d {shlex.quote(body)}"


def python_command(base_url: str, model: str) -> str:
    """One turn over a WebSocket with the official client (`pip install 'openai[realtime]'`)."""
    program = (
        f"from openai import OpenAI; line = OpenAI(base_url={json.dumps(base_url)}, "
        'api_key="none").responses.connect(websocket_connection_options={"compression": "deflate"}).enter(); '
        f'line.response.create(model={json.dumps(model)}, input="Say hello."); '
        f"end = next(event for event in line if event.type in {_ENDINGS}); "
        'print(end.to_json() if end.type in ("response.failed", "error") else end.response.output_text)'
    )
    return f"python -c {shlex.quote(program)}"


def python_http_command(base_url: str, model: str) -> str:
    """The same over HTTP, for a server whose sockets are off."""
    program = (
        f'from openai import OpenAI; client = OpenAI(base_url={json.dumps(base_url)}, api_key="none"); '
        f'print(client.responses.create(model={json.dumps(model)}, input="Say hello.").output_text)'
    )
    return f"python -c {shlex.quote(program)}"


def codex_command(base_url: str, model: str, *, sockets: bool = True) -> str:
    """One task with Codex CLI, all its settings on the command line."""
    provider = (
        f'model_providers.landline={{name="Landline", base_url="{base_url}", wire_api="responses", '
        f"supports_websockets={'true' if sockets else 'false'}}}"
    )
    return (
        f"codex exec --skip-git-repo-check -c {shlex.quote(provider)} -c model_provider=landline "
        f"-m {shlex.quote(model)} 'What does this folder contain?'"
    )


def url_host(host: str) -> str:
    """The host as a URL names it; the wildcard addresses are reached by loopback."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
