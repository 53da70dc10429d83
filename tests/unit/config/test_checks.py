"""What settings ask of each other, of the environment and of files: each is named where it is not so."""

from pathlib import Path

import pytest

from landline.config import (
    Config,
)
from support.configuration import CHAT, WITH_A_KEY, accepted, load, problems


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
        ('[prices]\nfile = "no.toml"\n', "prices.file: cannot read '"),
        (
            '[models."n"]\ntargets = ["t"]\n[models."n".price]\ninput = -1\noutput = 1\n',
            "models.n.price.input: expected a number from 0 to 100000, got -1",
        ),
        (
            '[models."n"]\ntargets = ["t"]\nprice = { input = 1, output = 1, cache_read = 1 }\n',
            "models.n.price.cache_read: unknown key",
        ),
        (
            '[models."n"]\ntargets = ["t"]\nprice = { input = 1 }\n',
            "models.n.price.output: missing; expected a number from 0 to 100000",
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
    (message,) = problems(tmp_path, WITH_A_KEY)
    assert message.startswith("targets.fake.api_key_env: the environment variable 'FAKE_KEY' is not set; export it")
    (message,) = problems(tmp_path, WITH_A_KEY, environment={"FAKE_KEY": ""})
    assert "'FAKE_KEY' is not set" in message


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1", "sk-\u201c1\u201d"])
def test_a_key_that_no_header_can_carry_stops_the_start_and_is_not_shown(tmp_path: Path, key: str) -> None:
    (message,) = problems(tmp_path, WITH_A_KEY, environment={"FAKE_KEY": key})
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
