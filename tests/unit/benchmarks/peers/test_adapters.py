"""Each adapter's configuration leads its server to the one upstream, and to nothing else."""

import json
import tomllib
from pathlib import Path

import pytest

from landline.config import Config, load_config
from peers.adapters import ABSENT, MODEL, PEERS, REFUSED, Peer, Place, Way

UPSTREAM = "http://127.0.0.1:9100"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "program", tmp_path, 8123, UPSTREAM)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_start_names_the_port_and_the_upstream(peer: Peer, place: Place) -> None:
    start = peer.start(place)
    written = "".join(path.read_text() for path in place.folder.iterdir())
    told = " ".join(start.arguments)
    assert str(place.port) in told
    assert UPSTREAM in told + written + "".join(value.format(upstream=UPSTREAM) for value in peer.headers.values())


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_packages_are_pinned_and_none_of_the_versions_is_refused(peer: Peer) -> None:
    assert peer.versions or peer.registry == "checkout"
    name = peer.package.partition("[")[0]
    assert not any((name, version) in REFUSED for version in peer.versions)
    assert set(peer.claims) <= set(Way)


def test_compromised_release_is_refused() -> None:
    assert REFUSED[("litellm", "1.107.0")] == "a compromised release"


def test_landline_accepts_its_configuration(place: Place) -> None:
    _peer("Landline").start(place)
    found = load_config(place.folder / "landline.toml", {})
    assert isinstance(found, Config)
    target = tomllib.loads((place.folder / "landline.toml").read_text())["targets"]["scripted"]
    assert target == {"dialect": "chat_completions", "base_url": f"{UPSTREAM}/v1"}


def test_litellm_keeps_the_conversations_of_its_sockets_itself(place: Place) -> None:
    _peer("LiteLLM").start(place)
    config = json.loads((place.folder / "config.yaml").read_text())
    [model] = config["model_list"]
    assert model["model_name"] == MODEL
    # With `openai/` it would only pass a socket on to one of the upstream's.
    assert model["litellm_params"]["model"] == f"hosted_vllm/{MODEL}"


def test_ogx_keeps_its_data_in_its_folder(place: Place) -> None:
    _peer("OGX").start(place)
    config = json.loads((place.folder / "config.yaml").read_text())
    [inference] = config["providers"]["inference"]
    assert inference["config"]["base_url"] == f"{UPSTREAM}/v1"
    paths = [backend["db_path"] for backend in config["storage"]["backends"].values()]
    assert all(path.startswith(str(place.folder)) for path in paths)


def test_absent_servers_say_why() -> None:
    assert all(each.reason for each in ABSENT)
    assert not {each.name for each in ABSENT} & {each.name for each in PEERS}


def _peer(name: str) -> Peer:
    return next(peer for peer in PEERS if peer.name == name)
