"""Any server that speaks chat completions: vLLM, SGLang, llama-server, Ollama, OpenRouter, DeepSeek, OpenAI …"""

from landline.dialects.chat_completions.dialect import ChatCompletions
from landline.dialects.chat_completions.settings import ChatCompletionsFlags, RequestOverrides

__all__ = ["ChatCompletions", "ChatCompletionsFlags", "RequestOverrides"]
