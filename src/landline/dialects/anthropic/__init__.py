"""Anthropic's Messages API, and gateways that speak it."""

from landline.dialects.anthropic.dialect import Anthropic
from landline.dialects.anthropic.settings import AnthropicFlags

__all__ = ["Anthropic", "AnthropicFlags"]
