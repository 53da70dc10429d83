"""Sealed text: what clients keep for us without reading or changing it (compactions, encrypted reasoning); and its keys.

Turns seal and open; `App.opened` loads the keys. `config` checks that keys of the environment are long enough.

A token is URL-safe base64 of `version (1) | key id (4) | salt (16) | ciphertext`. Each has a key of its own, derived from
the configured secret and its random salt (HKDF-SHA256), so one secret seals any number of them. AES-256-GCM binds the
content to its tenant and kind: moved to another tenant, or offered as something else, it does not open.
"""

import base64
import binascii
import contextlib
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from landline.stores.private_files import make_data_folder, tighten_file

Kind = Literal["compaction", "reasoning"]

MIN_SECRET_CHARS = 16
"""Shorter secrets can be guessed; `openssl rand -base64 32` makes a good one."""

_VERSION = b"\x01"
_ID_BYTES = 4
_SALT_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _SALT_BYTES

_log = structlog.stdlib.get_logger(__name__)


class Sealer:
    """Seals with the first of its keys and opens what any of them sealed, which is how keys are rotated."""

    def __init__(self, keys: Sequence[bytes | str] | None = None) -> None:
        """Without keys, `use_keys` must come before the first text. Raises ValueError for an empty list."""
        self._secrets: dict[bytes, bytes] = {}
        self._first = b""
        if keys is not None:
            self.use_keys(keys)

    def use_keys(self, keys: Sequence[bytes | str]) -> None:
        """Replaces the keys; the first one seals. Raises ValueError for an empty list."""
        secrets_ = [key.encode() if isinstance(key, str) else key for key in keys]
        if not secrets_:
            raise ValueError("expected at least one key")
        self._secrets = {_derive(secret, b"", b"key id", _ID_BYTES): secret for secret in reversed(secrets_)}
        self._first = _derive(secrets_[0], b"", b"key id", _ID_BYTES)

    def seal(self, tenant: str, kind: Kind, payload: bytes) -> str:
        """The payload as a token that only this tenant can have opened, as this kind."""
        head = _VERSION + self._first + secrets.token_bytes(_SALT_BYTES)
        key, nonce = self._unlock(head)
        sealed = AESGCM(key).encrypt(nonce, payload, _context(head, tenant, kind))
        return base64.urlsafe_b64encode(head + sealed).decode()

    def open(self, tenant: str, kind: Kind, text: str) -> bytes | None:
        """The payload; None if the token is not ours, not this tenant's, not of this kind, or was changed."""
        try:
            data = base64.urlsafe_b64decode(text.encode("ascii"))
        except (binascii.Error, ValueError):
            return None
        head = data[:_HEAD_BYTES]
        is_ours = data[:1] == _VERSION and data[1 : 1 + _ID_BYTES] in self._secrets
        # Base64 has spare bits: text that differs from what was made is refused even where it decodes to the same bytes.
        if not is_ours or len(head) < _HEAD_BYTES or base64.urlsafe_b64encode(data).decode() != text:
            return None
        key, nonce = self._unlock(head)
        try:
            return AESGCM(key).decrypt(nonce, data[_HEAD_BYTES:], _context(head, tenant, kind))
        except InvalidTag:
            return None

    def _unlock(self, head: bytes) -> tuple[bytes, bytes]:
        """The key and nonce of the one token that has this head."""
        key_id, salt = head[1 : 1 + _ID_BYTES], head[1 + _ID_BYTES :]
        derived = _derive(self._secrets[key_id], salt, b"token", _KEY_BYTES + _NONCE_BYTES)
        return derived[:_KEY_BYTES], derived[_KEY_BYTES:]


def split_keys(text: str) -> list[str]:
    """The secrets of a comma-separated list, the sealing one first. Raises ValueError for a short one or none."""
    keys = [key.strip() for key in text.split(",") if key.strip()]
    if not keys:
        raise ValueError("expected at least one key")
    if any(len(key) < MIN_SECRET_CHARS for key in keys):
        raise ValueError(f"expected keys of at least {MIN_SECRET_CHARS} characters")
    return keys


def load_keys(keys_env: str | None, folder: Path) -> Sequence[bytes | str]:
    """The keys in the environment variable of that name; without a name, the one that is kept in the data folder."""
    if keys_env is not None:
        return split_keys(os.environ[keys_env])
    with contextlib.suppress(OSError):  # `keep_key` logs it
        make_data_folder(folder)
    return [keep_key(folder / "sealing.key")]


def keep_key(path: Path) -> bytes:
    """The random key in a file that only this user can read, made if it is missing: then restarts can open what was
    sealed before. Where no file can be kept, a key that lasts as long as the process."""
    try:
        if not path.exists():
            _write_key(path)
        tighten_file(path)
        key = path.read_bytes()
    except OSError as error:
        _log.warning("sealing_key_not_kept", path=str(path), error=str(error))
        return secrets.token_bytes(_KEY_BYTES)
    if len(key) < _KEY_BYTES:
        _log.warning("sealing_key_not_kept", path=str(path), error="the file is too short to be a key")
        return secrets.token_bytes(_KEY_BYTES)
    return key


def _write_key(path: Path) -> None:
    """Puts a whole key in place at once; of several processes that start together, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def _derive(secret: bytes, salt: bytes, purpose: bytes, size_bytes: int) -> bytes:
    return HKDF(SHA256(), size_bytes, salt, b"landline sealing 1: " + purpose).derive(secret)


def _context(head: bytes, tenant: str, kind: Kind) -> bytes:
    """What is authenticated beside the payload; the kind comes first because it holds no separator."""
    return head + kind.encode() + b"\x00" + tenant.encode()
