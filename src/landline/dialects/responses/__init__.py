"""Any server that speaks Responses itself: OpenAI, Azure, xAI, Vercel, vLLM, another Landline. Relayed, not rebuilt."""

from landline.dialects.responses.dialect import Responses
from landline.dialects.responses.events import EventReader
from landline.dialects.responses.request import ResponsesFlags

__all__ = ["EventReader", "Responses", "ResponsesFlags"]
