"""A configuration is read completely or refused with every reason."""

from pathlib import Path

import pytest

from landline.config import (
    ChatCompletionsTargetSettings,
    EmbeddedTargetSettings,
    ModelSettings,
    Overrides,
    ScriptedTargetSettings,
    default_config,
    load_config,
)
from support.configuration import CHAT, MODEL, WITH_A_KEY, accepted, load, problems

DIALECTS = "one of `anthropic`, `chat_completions`, `embedded`, `gemini`, `responses`, `scripted`"


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    config = accepted(load(tmp_path, WITH_A_KEY, environment={"FAKE_KEY": "secret"}))
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert config.targets == {
        "fake": ChatCompletionsTargetSettings(base_url="http://127.0.0.1:9100/v1", api_key_env="FAKE_KEY"),
    }
    assert config.models == {"demo": ModelSettings(targets=["fake"])}


def test_flags_and_engine_settings_stand_beside_a_targets_own_keys(tmp_path: Path) -> None:
    config = accepted(
        load(
            tmp_path,
            CHAT
            + '[targets.e]\ndialect = "embedded"\nslots = 2\nthreads = 1\n'
            + '[targets.c]\ndialect = "chat_completions"\nbase_url = "https://a.test/v1"\ndeveloper_role = "developer"\n'
            + 'forward = ["user"]\nextra_body = { top_k = 3 }\n',
        )
    )
    embedded, chat = config.targets["e"], config.targets["c"]
    assert isinstance(embedded, EmbeddedTargetSettings)
    assert (embedded.slots, embedded.threads, embedded.model) == (2, 1, None)
    assert isinstance(chat, ChatCompletionsTargetSettings)
    assert (chat.developer_role, chat.forward, chat.extra_body) == ("developer", ("user",), {"top_k": 3})


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "play").mkdir()
    (tmp_path / "play" / "demo.jsonl").write_text('[[{"type": "text", "text": "Hello."}]]')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = '[targets.t]\ndialect = "scripted"\ntranscript = "play/demo.jsonl"\n' + MODEL
    assert accepted(load(tmp_path, text)).targets["t"] == ScriptedTargetSettings(
        transcript=str((tmp_path / "play" / "demo.jsonl").resolve())
    )


def test_the_command_line_stands_above_the_file(tmp_path: Path) -> None:
    config = accepted(load(tmp_path, CHAT + '[server]\nport = 1\nhost = "::1"\n', port=2))
    assert (config.server.host, config.server.port) == ("::1", 2)


def test_without_a_file_the_embedded_model_answers_to_its_own_name_only() -> None:
    config = accepted(default_config(EmbeddedTargetSettings(), "smollm2", Overrides(port=0)))
    assert list(config.models) == ["smollm2"]
    assert config.server.port == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nprot = 1\n", "server.prot: unknown key; did you mean `port`?"),
        ("[sever]\n", "sever: unknown key; did you mean `server`?"),
        ("[server]\nzzz = 1\n", "server.zzz: unknown key; known here: `"),
        ("[server]\nkeepalive_s = 1\n", "server.keepalive_s: unknown key; it belongs in `[limits]`"),
        ("port = 1\n", "port: unknown key; it belongs in `[server]`"),
        ('[metrics]\nendpoint = "http://x"\n', "metrics.endpoint: unknown key; it belongs in `[telemetry]`"),
        ("[telemetry]\ncontent = true\n", "telemetry.content: unknown key; it belongs in `[monitor]`"),
        ("[telemetry]\nport = 1\n", "telemetry.port: unknown key; it belongs in `[server]`"),
        ("[limits]\ntraces = true\n", "limits.traces: unknown key; it belongs in `[telemetry]`"),
        (
            "[server]\nenabled = true\n",
            "server.enabled: unknown key; it belongs in `[monitor]`, `[metrics]` or `[telemetry]`",
        ),
        ("[server.metrics]\nenabled = true\n", "server.metrics: unknown key; it is a table of its own: `[metrics]`"),
        ("[server]\nweights = [1]\n", 'server.weights: unknown key; it belongs in `[models."NAME"]`'),
        ("[store]\nbase_url = 'x'\n", "store.base_url: unknown key; it belongs in `[targets.NAME]`"),
        ("[limits]\nmax_sockets = 1\n", "limits.max_sockets: unknown key; it belongs in `[targets.NAME.socket]`"),
        (
            CHAT.replace(MODEL, "slots = 2\n"),
            'targets.t.slots: unknown key; it is a setting of targets with `dialect = "embedded"`',
        ),
        ('[server]\nport = "8080"\n', "server.port: expected a whole number from 0 to 65535, got '8080'"),
        ("[server]\nport = 65536\n", "server.port: expected a whole number from 0 to 65535, got 65536"),
        ("[server]\nport = true\n", "server.port: expected a whole number from 0 to 65535, got true"),
        ("[server]\nsockets = 1\n", "server.sockets: expected true or false, got 1"),
        ('[server]\nevent_names = "x"\n', "server.event_names: expected one of `open_responses`, `openai`, got 'x'"),
        ("server = 3\n", "server: expected a table, got 3"),
        ("targets = 3\n", "targets: expected a table, got 3"),
        ("[targets]\nt = 3\n", "targets.t: expected a table, got 3"),
        ("[limits]\nmax_in_flight = 0\n", "limits.max_in_flight: expected a whole number, 1 or more, got 0"),
        ("[targets.u]\n", f"targets.u.dialect: missing; expected {DIALECTS}"),
        (
            '[targets.u]\ndialect = "chat_completion"\n',
            f"targets.u.dialect: expected {DIALECTS}, got 'chat_completion'; did you mean `chat_completions`?",
        ),
        ("[targets.u]\ndialect = 1\n", f"targets.u.dialect: expected {DIALECTS}, got 1"),
        ('[targets.u]\ndialect = "responses"\n', "targets.u.base_url: missing; expected a non-empty string"),
        (
            '[targets.u]\ndialect = "responses"\nbase_url = "http://x"\ntransport = "carrier pigeon"\n',
            "targets.u.transport: expected one of `http`, `websocket`, got 'carrier pigeon'",
        ),
        (
            '[targets.u]\ndialect = "responses"\nbase_url = "http://x"\n[targets.u.socket]\nmax_sockets = 0\n',
            "targets.u.socket.max_sockets: expected a whole number, 1 or more, got 0",
        ),
        (
            '[targets.u]\ndialect = "responses"\nbase_url = "http://x"\n[targets.u.socket]\nmax_socket = 1\n',
            "targets.u.socket.max_socket: unknown key; did you mean `max_sockets`?",
        ),
        ('[targets.u]\ndialect = "chat_completions"\n', "targets.u.base_url: missing; expected a non-empty string"),
        (
            '[targets.u]\ndialect = "chat_completions"\nbase_url = "http://x"\nheaders = { a = 1 }\n',
            "targets.u.headers.a: expected a string, got 1",
        ),
        (
            '[targets.u]\ndialect = "embedded"\nslots = 0\n',
            "targets.u.slots: expected a whole number, 1 or more, got 0",
        ),
        ('[targets.u]\ndialect = "embedded"\nslot = 2\n', "targets.u.slot: unknown key; did you mean `slots`?"),
        ('[models."gpt-5.1"]\n', 'models."gpt-5.1".targets: missing; expected a list of strings, at least 1'),
        ("[models.n]\ntargets = []\n", "models.n.targets: expected a list of strings, at least 1, got []"),
        ('[models.n]\ntargets = "t"\n', "models.n.targets: expected a list of strings, at least 1, got 't'"),
        (
            CHAT + '[models.n]\ntargets = ["t"]\nweights = [0]\n',
            "models.n.weights: expected a list of numbers over 0, got [0]",
        ),
        (
            CHAT + '[models.n]\ntargets = ["t"]\nweights = 2\n',
            "models.n.weights: expected a list of numbers over 0, got 2",
        ),
    ],
)
def test_a_malformed_setting_is_named_with_what_was_expected(tmp_path: Path, text: str, expected: str) -> None:
    (message,) = [each for each in problems(tmp_path, text) if not each.startswith("models: nothing is served")]
    assert message.startswith(expected)


def test_a_file_that_serves_nothing_is_refused(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "")
    assert message.startswith("models: nothing is served; add")


def test_every_problem_is_found_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = '[server]\nhots = "x"\nport = -1\n[targets.a]\ndialect = "nope"\n[models.m]\ntarget = ["a"]\n'
    assert [message.partition(":")[0] for message in problems(tmp_path, text)] == [
        "server.hots",
        "server.port",
        "targets.a.dialect",
        "models.m.target",
        "models.m.targets",
    ]


def test_no_mistake_hides_another(tmp_path: Path) -> None:
    lines = [
        "port = 9",
        '[server]\nhost = "0.0.0.0"\nsockets = 3',
        '[store]\nurl = "mysql://x"\nretention_days = "ten"',
        '[sealing]\nkeys_env = "NO_SUCH"',
        '[telemetry]\nenabled = true\nendpoint = "ftp://x"\nflush = 1',
        '[targets.a]\ndialect = "chat_completions"\nbase_url = "not a url"\napi_key_env = "NO_KEY"\nslots = 2',
        '[targets.b]\ndialect = "embedded"\ngguf = "nowhere.gguf"\nmmproj = "nowhere.either"\nslots = 0',
        '[targets.c]\nprofile = "mistrall"\nmax_frame_bites = 1\nbase_url = 7',
        '[targets.d]\nprofile = "mistral"\ndialect = "responses"\nbase_urll = "x"',
        '[targets.e]\ndialect = "responses"\napi_key_env = "NO_KEY_EITHER"',
        '[targets.f]\nprofile = "azure"\ntransport = "smoke"',
        '[models.m]\ntargets = ["c", "z"]\nweights = [1]',
        '[models.n]\ntargets = "d"\nweight = 1',
    ]
    found = [message.partition(": ")[0] for message in problems(tmp_path, "\n".join(lines))]
    assert sorted(found) == sorted(
        [
            "port",
            "server.host",
            "server.sockets",
            "store.url",
            "store.retention_days",
            "sealing.keys_env",
            "telemetry.endpoint",
            "telemetry.flush",
            "targets.a.base_url",
            "targets.a.api_key_env",
            "targets.a.slots",
            "targets.b.gguf",
            "targets.b.mmproj",
            "targets.b.slots",
            "targets.c.profile",
            "targets.c.max_frame_bites",
            "targets.c.base_url",
            "targets.d.dialect",
            "targets.d.base_urll",
            "targets.d.api_key_env",
            "targets.e.base_url",
            "targets.e.api_key_env",
            "targets.f.base_url",
            "targets.f.transport",
            "targets.f.api_key_env",
            "models.m.targets",
            "models.m.weights",
            "models.n.targets",
            "models.n.weight",
        ]
    )


@pytest.mark.parametrize("text", [CHAT.replace("models", "model"), CHAT.replace("[models", "[modles"), "models = 3\n"])
def test_what_follows_from_a_mistake_is_no_other_one(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, text)) == 1


def test_a_typo_does_not_hide_that_nothing_is_served(tmp_path: Path) -> None:
    assert [each.partition(":")[0] for each in problems(tmp_path, "[server]\nprot = 1\n")] == ["server.prot", "models"]


def test_a_file_that_is_not_toml_is_refused_with_the_place(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "[server\n")
    assert message.startswith("not TOML: ")
    assert "line 1" in message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    found = load_config(tmp_path / "missing.toml", {})
    assert isinstance(found, list)
    assert str(found[0]).startswith("cannot read '")
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    found = load_config(tmp_path / "latin.toml", {})
    assert isinstance(found, list)
    assert str(found[0]).startswith("not UTF-8 text")
