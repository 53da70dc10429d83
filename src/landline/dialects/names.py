"""The name under which a tool is known upstream: one flat, short name for a namespace and a name."""

import re
from hashlib import blake2b

MAX_NAME_CHARS = 64
"""Limit of function names in the chat-completions API; Anthropic takes 128 characters, Gemini 64 (November 2026)."""
SEPARATOR = "__"
ToolNames = dict[tuple[str | None, str], str]
"""Upstream names of the tools whose usual one is taken: (namespace, name) → name. Nearly always empty."""

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")


def upstream_name(namespace: str | None, name: str) -> str:
    """`namespace__name`, or `name`; what is too long or has other characters gets a hash, the same one every time."""
    joined = f"{namespace}{SEPARATOR}{name}" if namespace else name
    clean = _FORBIDDEN.sub("_", joined)
    if clean == joined and 0 < len(joined) <= MAX_NAME_CHARS:
        return joined
    return hashed_name(namespace, name)


def hashed_name(namespace: str | None, name: str) -> str:
    """A name that no other pair has: the readable start and eight hexadecimal digits."""
    joined = f"{namespace}{SEPARATOR}{name}" if namespace else name
    digest = blake2b(f"{namespace or ''}\0{name}".encode(), digest_size=4).hexdigest()
    return f"{_FORBIDDEN.sub('_', joined)[: MAX_NAME_CHARS - 9]}_{digest}"
