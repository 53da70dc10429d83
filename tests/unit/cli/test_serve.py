"""What the server prints can be pasted: every command is one line that a shell and its program understand."""

import ast
import json
import shlex
import tomllib

import pytest

from landline.cli.serve import codex_command, curl_command, greeting, python_command, python_http_command, url_host

URL = "http://127.0.0.1:8080/v1"
NAMES = ["smollm2-135m-instruct", 'it\'s "odd"', "a b/c:d", "$HOME `x`"]


@pytest.mark.parametrize("model", NAMES)
def test_curl_sends_the_models_name(model: str) -> None:
    words = shlex.split(curl_command(URL, model))
    assert words[:3] == ["curl", "-s", f"{URL}/responses"]
    assert json.loads(words[words.index("-d") + 1])["model"] == model


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("make", [python_command, python_http_command])
def test_python_is_one_line_that_compiles_and_names_the_model(model: str, make: object) -> None:
    command = python_command(URL, model) if make is python_command else python_http_command(URL, model)
    assert "\n" not in command
    name, option, program = shlex.split(command)
    assert (name, option) == ("python", "-c")
    strings = {node.value for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Constant)}
    assert {URL, model} <= strings


@pytest.mark.parametrize("sockets", [True, False])
def test_codex_settings_are_toml(sockets: bool) -> None:
    words = shlex.split(codex_command(URL, "m", sockets=sockets))
    settings = tomllib.loads(
        "\n".join(words[at + 1] for at, word in enumerate(words) if word == "-c" and "{" in words[at + 1])
    )
    assert settings["model_providers"]["landline"] == {
        "name": "Landline",
        "base_url": URL,
        "wire_api": "responses",
        "supports_websockets": sockets,
    }
    assert words[words.index("-m") + 1] == "m"


def test_greeting_names_address_model_and_three_commands() -> None:
    lines = greeting("127.0.0.1", 8080, "smol").splitlines()
    assert lines[0] == f"Landline listens on {URL}"
    assert lines[1] == "Model: smol"
    assert [line.split()[0] for line in lines[4:7]] == ["curl", "python", "codex"]


def test_greeting_names_the_monitor_page_if_there_is_one() -> None:
    assert "http://127.0.0.1:8080/monitor" in greeting("127.0.0.1", 8080, "m")
    assert "/monitor" not in greeting("127.0.0.1", 8080, "m", monitor=False)


def test_without_sockets_python_goes_over_http() -> None:
    assert "connect(" in greeting("127.0.0.1", 1, "m")
    assert "connect(" not in greeting("127.0.0.1", 1, "m", sockets=False)


@pytest.mark.parametrize(
    ("host", "expected"), [("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("localhost", "localhost")]
)
def test_a_host_is_spelled_as_urls_spell_it(host: str, expected: str) -> None:
    assert url_host(host) == expected
