"""A configuration is read completely or refused with every reason."""

from pathlib import Path

import pytest

from landline.config import (
    ChatCompletionsTarget,
    Config,
    EmbeddedTarget,
    ModelSettings,
    Overrides,
    Problem,
    ScriptedTarget,
    default_config,
    load_config,
)

FROM_THE_ISSUE = """
[server]
host = "127.0.0.1"
port = 8080
[targets.fake]
dialect = "chat_completions"
base_url = "http://127.0.0.1:9100/v1"
api_key_env = "FAKE_KEY"
[models."demo"]
targets = ["fake"]
"""


def load(
    folder: Path,
    text: str,
    *,
    environment: dict[str, str] | None = None,
    host: str | None = None,
    port: int | None = None,
) -> Config | list[Problem]:
    file = folder / "landline.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, environment or {}, Overrides(host=host, port=port))


def problems(folder: Path, text: str, *, environment: dict[str, str] | None = None) -> list[str]:
    found = load(folder, text, environment=environment)
    assert isinstance(found, list), "the file was accepted"
    return [str(problem) for problem in found]


def accepted(found: Config | list[Problem]) -> Config:
    assert isinstance(found, Config), [str(problem) for problem in found]
    return found


DIALECTS = "one of `anthropic`, `chat_completions`, `embedded`, `gemini`, `responses`, `scripted`"
MODEL = '[models."m"]\ntargets = ["t"]\n'
CHAT = '[targets.t]\ndialect = "chat_completions"\nbase_url = "http://127.0.0.1:1/v1"\n' + MODEL


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    config = accepted(load(tmp_path, FROM_THE_ISSUE, environment={"FAKE_KEY": "secret"}))
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert config.targets == {
        "fake": ChatCompletionsTarget(base_url="http://127.0.0.1:9100/v1", api_key_env="FAKE_KEY"),
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
    assert isinstance(embedded, EmbeddedTarget)
    assert (embedded.slots, embedded.threads, embedded.model) == (2, 1, None)
    assert isinstance(chat, ChatCompletionsTarget)
    assert (chat.developer_role, chat.forward, chat.extra_body) == ("developer", ("user",), {"top_k": 3})


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "play").mkdir()
    (tmp_path / "play" / "demo.jsonl").write_text('[[{"type": "text", "text": "Hello."}]]')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = '[targets.t]\ndialect = "scripted"\ntranscript = "play/demo.jsonl"\n' + MODEL
    assert accepted(load(tmp_path, text)).targets["t"] == ScriptedTarget(
        transcript=str((tmp_path / "play" / "demo.jsonl").resolve())
    )


def test_the_command_line_stands_above_the_file(tmp_path: Path) -> None:
    config = accepted(load(tmp_path, CHAT + '[server]\nport = 1\nhost = "::1"\n', port=2))
    assert (config.server.host, config.server.port) == ("::1", 2)


def test_without_a_file_the_embedded_model_answers_to_its_own_name_only() -> None:
    config = accepted(default_config(EmbeddedTarget(), "smollm2", Overrides(port=0)))
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[models."n"]\ntargets = ["tt"]\n', "models.n.targets: no target 'tt'; did you mean `t`?"),
        ('[models."n"]\ntargets = ["t:"]\n', "models.n.targets: expected 'TARGET' or 'TARGET:MODEL', got 't:'"),
        ('[models."n"]\ntargets = ["t", "t"]\n', "models.n.targets: 't' is named twice"),
        (
            '[models."n"]\ntargets = ["t"]\nweights = [1, 2]\n',
            "models.n.weights: expected 1, one for each target, got 2",
        ),
        (
            '[targets.u]\ndialect = "responses"\nbase_url = "http://x"\nkey_header = "a b"\n',
            "targets.u.key_header: expected the name of a header, got 'a b'",
        ),
        ('[targets."a b"]\ndialect = "embedded"\n', 'targets."a b": a target\'s name is letters, digits, `_` and `-`'),
        ('[targets.u]\ndialect = "embedded"\nmodel = "x"\n', "targets.u.model: no model 'x'; known here: `smollm2"),
        ('[targets.u]\ndialect = "embedded"\ngguf = "no.gguf"\n', "targets.u.gguf: expected a file, found none at '"),
        (
            '[targets.u]\ndialect = "scripted"\ntranscript = "no"\n',
            "targets.u.transcript: expected a file, found none at '",
        ),
        (
            '[targets.u]\ndialect = "chat_completions"\nbase_url = "127.0.0.1:9100/v1"\n',
            "targets.u.base_url: expected a URL such as 'http://127.0.0.1:8000/v1', got '127.0.0.1:9100/v1'",
        ),
        (
            '[targets.u]\ndialect = "anthropic"\nbase_url = "https://a.test:99999"\n',
            "targets.u.base_url: expected a URL such as 'http://127.0.0.1:8000/v1', got 'https://a.test:99999'",
        ),
        (
            '[targets.u]\ndialect = "anthropic"\nbase_url = "https://[::1/v1"\n',
            "targets.u.base_url: expected a URL such as 'http://127.0.0.1:8000/v1', got 'https://[::1/v1'",
        ),
        ('[server]\nhost = "0.0.0.0"\n', "server.host: '0.0.0.0' can be reached from other machines, and this version"),
        ('[server]\nhost = "::"\n', "server.host: '::' can be reached from other machines"),
        ('[server]\nhost = "example.test"\n', "server.host: 'example.test' can be reached from other machines"),
    ],
)
def test_settings_that_disagree_are_named(tmp_path: Path, text: str, expected: str) -> None:
    (message,) = problems(tmp_path, CHAT + text)
    assert message.startswith(expected)


def test_a_key_that_is_not_in_the_environment_stops_the_start(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, FROM_THE_ISSUE)
    assert message.startswith("targets.fake.api_key_env: the environment variable 'FAKE_KEY' is not set; export it")
    (message,) = problems(tmp_path, FROM_THE_ISSUE, environment={"FAKE_KEY": ""})
    assert "'FAKE_KEY' is not set" in message


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1", "sk-\u201c1\u201d"])
def test_a_key_that_no_header_can_carry_stops_the_start_and_is_not_shown(tmp_path: Path, key: str) -> None:
    (message,) = problems(tmp_path, FROM_THE_ISSUE, environment={"FAKE_KEY": key})
    assert message.startswith(
        "targets.fake.api_key_env: the environment variable 'FAKE_KEY' holds characters that a key"
    )
    assert "sk-" not in message


def test_weights_stand_beside_the_targets_that_they_weigh(tmp_path: Path) -> None:
    config = accepted(load(tmp_path, CHAT + '[models.p]\ntargets = ["t", "t:big"]\nweights = [1, 2.5]\n'))
    assert config.models["p"].weights == [1.0, 2.5]


def test_both_a_model_and_a_file_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    text = CHAT + '[targets.u]\ndialect = "embedded"\nmodel = "smollm2-135m-instruct"\ngguf = "a.gguf"\n'
    assert problems(tmp_path, text) == ["targets.u: expected `model` or `gguf`, got both; keep one"]


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"PK")
    (message,) = problems(tmp_path, CHAT + '[targets.u]\ndialect = "embedded"\ngguf = "a.gguf"\n')
    assert message.startswith("targets.u.gguf: ")
    assert "not a GGUF file" in message


def test_a_transcript_that_cannot_be_played_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('[[{"type": "txt"}]]')
    (message,) = problems(tmp_path, CHAT + '[targets.u]\ndialect = "scripted"\ntranscript = "a.jsonl"\n')
    assert message.startswith("targets.u.transcript: ")
    assert "txt" in message


def test_a_file_that_serves_nothing_is_refused(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "")
    assert message.startswith("models: nothing is served; add")


def test_a_public_address_is_served_only_when_told_that_it_is_insecure(tmp_path: Path) -> None:
    config = accepted(load(tmp_path, CHAT + '[server]\nhost = "0.0.0.0"\ninsecure_allow_public = true\n'))
    assert config.server.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ('allowed_hosts = ["https://llm.example.org"]', "server.allowed_hosts: expected a name or an address"),
        ('allowed_hosts = ["llm.example.org/v1"]', "server.allowed_hosts: expected a name or an address"),
        ('allowed_hosts = ["ok.example.org", "a b"]', "got 'a b'"),
        ('allowed_hosts = ["a.*.example.org"]', "got 'a.*.example.org'"),
        ('allowed_hosts = ["*.192.0.2.7"]', "got '*.192.0.2.7'"),
        ('allowed_hosts = ["llm.example.org:99999"]', "got 'llm.example.org:99999'"),
        ('allowed_hosts = ["büro.example"]', "got 'büro.example'"),
        ('allowed_hosts = ["*"]', "server.allowed_hosts: expected names: with '*' any web page"),
        ('allowed_hosts = [""]', "server.allowed_hosts: expected"),
        (
            'allowed_hosts = "llm.example.org"',
            "server.allowed_hosts: expected a list of strings, got 'llm.example.org'",
        ),
        ("allowed_hosts = [5]", "server.allowed_hosts: expected a list of strings"),
        ('allowed_origins = ["app.example.org"]', "server.allowed_origins: expected a scheme, a host"),
        ('allowed_origins = ["https://app.example.org/"]', "got 'https://app.example.org/'"),
        ('allowed_origins = ["https://*.example.org"]', "got 'https://*.example.org'"),
        ('allowed_origins = ["https://user@app.example.org"]', "got 'https://user@app.example.org'"),
        ('allowed_origins = ["*"]', "server.allowed_origins: expected origins by name: '*' is any web page"),
        ('allowed_origins = ["null"]', "server.allowed_origins: expected origins by name: 'null' is any web page"),
    ],
)
def test_hosts_and_origins_that_are_none_are_named(tmp_path: Path, setting: str, expected: str) -> None:
    [problem] = problems(tmp_path, f"[server]\n{setting}\n{CHAT}")
    assert expected in problem


def test_hosts_and_origins_are_read(tmp_path: Path) -> None:
    hosts = '["llm.example.org", "*.example.org:81", "192.0.2.7", "[::1]:9", "2001:db8::7"]'
    origins = '["https://app.example.org", "http://localhost:5173", "app://obsidian.md"]'
    text = f"[server]\nallowed_hosts = {hosts}\nallowed_origins = {origins}\n{CHAT}"
    server = accepted(load(tmp_path, text)).server
    assert len(server.allowed_hosts) == 5
    assert len(server.allowed_origins) == 3


def test_an_overriding_public_address_is_refused_too(tmp_path: Path) -> None:
    found = load(tmp_path, CHAT, host="0.0.0.0")
    assert isinstance(found, list)
    assert found[0].path == "server.host"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_addresses_are_served(tmp_path: Path, host: str) -> None:
    assert accepted(load(tmp_path, CHAT, host=host)).server.host == host


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


STORED = CHAT + "[store]\nurl = "


def test_a_store_lies_beside_the_file(tmp_path: Path) -> None:
    assert accepted(load(tmp_path, STORED + '"sqlite:///kept.db"')).store.url == f"sqlite:///{tmp_path}/kept.db"
    assert accepted(load(tmp_path, STORED + f'"sqlite:///{tmp_path}/x.db"')).store.url == f"sqlite:///{tmp_path}/x.db"
    for url in ("memory", "postgresql://me:secret@db.example:5432/landline"):
        assert accepted(load(tmp_path, STORED + f'"{url}"')).store.url == url
    assert accepted(load(tmp_path, CHAT)).store.url is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://me:secret@host/db", "expected `sqlite:///PATH`, `postgresql://…` or `memory`"),
        ("sqlite:///", "expected `sqlite:///PATH`, `postgresql://…` or `memory`"),
        ("kept.db", "expected `sqlite:///PATH`, `postgresql://…` or `memory`"),
        ("postgresql://me:secret@host:port/db", "expected a port number after the host"),
        ("sqlite:///nowhere/kept.db", "expected a folder, found none at"),
    ],
)
def test_a_store_that_cannot_be_is_named_without_its_password(tmp_path: Path, url: str, expected: str) -> None:
    (problem,) = problems(tmp_path, STORED + f'"{url}"')
    assert problem.startswith(f"store.url: {expected}")
    assert "secret" not in problem


def test_limits_of_stored_and_background_responses_are_bounded(tmp_path: Path) -> None:
    found = problems(
        tmp_path, CHAT + "[store]\nretention_days = -1\n[background]\nmax_running = 0\nevents_kept_s = 0\n"
    )
    assert found == [
        "store.retention_days: expected a number, 0 or more, got -1",
        "background.max_running: expected a whole number, 1 or more, got 0",
        "background.events_kept_s: expected a number, 1 or more, got 0",
    ]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("keepalive_s = -1", "a number, 0 or more, got -1"),
        ("max_age_s = inf", "a number, 0 or more, and 9007199254740992 at most, got inf"),
        ("age_grace_s = nan", "a number, 0 or more, and 9007199254740992 at most, got nan"),
        ("max_frame_bytes = 0", "a whole number, 1 or more, got 0"),
        ("memory_bytes = 9007199254740993", "and 9007199254740992 at most, got 9007199254740993"),
    ],
)
def test_a_number_that_no_clock_or_buffer_takes_is_refused(tmp_path: Path, setting: str, expected: str) -> None:
    (problem,) = problems(tmp_path, CHAT + f"[limits]\n{setting}\n")
    assert problem.startswith(f"limits.{setting.split(maxsplit=1)[0]}: expected ")
    assert problem.endswith(expected)


def test_a_model_must_have_time_to_load_and_needs_none_to_come_back(tmp_path: Path) -> None:
    served = '[models."m"]\ntargets = ["m"]\n[targets.m]\ndialect = "embedded"\n'
    assert isinstance(load(tmp_path, served + "restart_wait_s = 0\n"), Config)
    (problem,) = problems(tmp_path, served + "start_timeout_s = 0\n")
    assert problem == "targets.m.start_timeout_s: expected a number over 0, got 0"


SEALED = CHAT + '[sealing]\nkeys_env = "SEALING_KEYS"\n'


def test_sealing_keys_come_from_the_environment(tmp_path: Path) -> None:
    keys = "a secret of enough characters,and another one of them"
    assert accepted(load(tmp_path, SEALED, environment={"SEALING_KEYS": keys})).sealing.keys_env == "SEALING_KEYS"
    assert accepted(load(tmp_path, CHAT)).sealing.keys_env is None


@pytest.mark.parametrize(
    ("keys", "expected"), [("", "expected at least one key"), ("too short", "expected keys of at least 16 characters")]
)
def test_wrong_sealing_keys_stop_the_start_and_are_not_shown(tmp_path: Path, keys: str, expected: str) -> None:
    (problem,) = problems(tmp_path, SEALED, environment={"SEALING_KEYS": keys})
    assert problem == f"sealing.keys_env: in the environment variable 'SEALING_KEYS': {expected}"


TELLING = CHAT + "[telemetry]\nenabled = true\n"


def test_telemetry_is_off_unless_it_is_turned_on(tmp_path: Path) -> None:
    wrong = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert not accepted(load(tmp_path, CHAT, environment=wrong)).telemetry.enabled
    right = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert accepted(load(tmp_path, TELLING, environment=right)).telemetry.enabled


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"])
def test_protocol_that_is_not_spoken_stops_the_start(tmp_path: Path, name: str) -> None:
    (problem,) = problems(tmp_path, TELLING, environment={name: "grpc"})
    assert problem == f"telemetry.enabled: expected 'http/protobuf' or nothing in '{name}', got 'grpc'"


def test_collector_without_a_url_stops_the_start(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, TELLING + 'endpoint = "127.0.0.1:4318"\n')
    assert problem == "telemetry.endpoint: expected a URL such as 'http://127.0.0.1:4318', got '127.0.0.1:4318'"
