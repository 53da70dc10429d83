"""Google Gemini's generateContent: the Gemini API, and what speaks it."""

from landline.dialects.gemini.dialect import Gemini
from landline.dialects.gemini.settings import GeminiFlags

__all__ = ["Gemini", "GeminiFlags"]
