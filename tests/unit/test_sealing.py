"""Sealed text opens for its tenant, as its kind, with any configured key, and never when it was changed."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.sealing import Sealer, keep_key, split_keys

KEY = "a secret of enough characters"
OTHER = "another secret of enough characters"


@given(payload=st.binary(max_size=2000), tenant=st.text(max_size=20))
def test_what_was_sealed_opens_as_it_was(payload: bytes, tenant: str) -> None:
    sealer = Sealer([KEY])
    token = sealer.seal(tenant, "compaction", payload)
    assert sealer.open(tenant, "compaction", token) == payload
    assert token.isascii()
    assert not set(token) & set("+/ \n")


@given(payload=st.binary(min_size=1, max_size=200), data=st.data())
def test_any_changed_character_keeps_it_shut(payload: bytes, data: st.DataObject) -> None:
    sealer = Sealer([KEY])
    token = sealer.seal("t", "compaction", payload)
    place = data.draw(st.integers(0, len(token) - 1))
    put = data.draw(st.sampled_from("ABCxyz019-_=é "))
    changed = token[:place] + put + token[place + 1 :]
    assert (sealer.open("t", "compaction", changed) == payload) == (changed == token)


@given(text=st.text(max_size=300))
def test_foreign_text_does_not_open(text: str) -> None:
    assert Sealer([KEY]).open("t", "reasoning", text) is None


@given(length=st.integers(0, 60))
def test_cut_token_does_not_open(length: int) -> None:
    sealer = Sealer([KEY])
    data = base64.urlsafe_b64decode(sealer.seal("t", "reasoning", b"payload"))
    token = base64.urlsafe_b64encode(data[: min(length, len(data) - 1)]).decode()
    assert sealer.open("t", "reasoning", token) is None


def test_same_payload_never_gives_the_same_token() -> None:
    sealer = Sealer([KEY])
    assert len({sealer.seal("t", "reasoning", b"same") for _ in range(20)}) == 20


@pytest.mark.parametrize(("tenant", "kind"), [("other", "compaction"), ("t", "reasoning"), ("", "compaction")])
def test_other_tenant_and_other_kind_do_not_open(tenant: str, kind: str) -> None:
    sealer = Sealer([KEY])
    token = sealer.seal("t", "compaction", b"payload")
    assert sealer.open(tenant, kind, token) is None  # pyright: ignore[reportArgumentType]


def test_first_key_seals_and_every_key_opens() -> None:
    old, new = Sealer([OTHER]), Sealer([KEY, OTHER])
    assert new.open("t", "reasoning", old.seal("t", "reasoning", b"before")) == b"before"
    assert old.open("t", "reasoning", new.seal("t", "reasoning", b"after")) is None
    assert Sealer([KEY]).open("t", "reasoning", new.seal("t", "reasoning", b"after")) == b"after"


def test_sealer_needs_a_key() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Sealer([])


def test_kept_key_is_the_same_after_a_restart_and_only_the_users(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "sealing.key"
    key = keep_key(path)
    assert keep_key(path) == key
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["sealing.key"]


def test_kept_key_that_others_could_read_is_the_users_alone_once_it_is_used(tmp_path: Path) -> None:
    key = keep_key(tmp_path / "sealing.key")
    (tmp_path / "sealing.key").chmod(0o644)
    assert keep_key(tmp_path / "sealing.key") == key
    assert stat.S_IMODE((tmp_path / "sealing.key").stat().st_mode) == 0o600


def test_without_a_place_to_keep_it_the_key_lasts_as_long_as_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert keep_key(tmp_path / "file" / "sealing.key") != keep_key(tmp_path / "file" / "sealing.key")


def test_file_that_is_too_short_is_not_taken_for_a_key(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    path.write_bytes(b"short")
    assert len(keep_key(path)) == 32


def test_keys_are_a_comma_separated_list() -> None:
    assert split_keys(f" {KEY},{OTHER} ,") == [KEY, OTHER]


@pytest.mark.parametrize(("text", "said"), [("", "at least one"), (" , ", "at least one"), ("short", "16 characters")])
def test_missing_and_short_keys_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        split_keys(text)
