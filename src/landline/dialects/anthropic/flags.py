"""What differs between servers that say they speak Anthropic's Messages."""

import msgspec


class AnthropicFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit Anthropic itself."""
