"""Opaque ids for responses, items and requests."""

import secrets

RANDOM_BYTES = 24
"""192 random bits: an id cannot be guessed, so it may name stored data; the same length as OpenAI's ids."""


def new_id(prefix: str) -> str:
    """A fresh id, such as `resp_` and 48 hexadecimal digits."""
    return f"{prefix}_{secrets.token_hex(RANDOM_BYTES)}"
