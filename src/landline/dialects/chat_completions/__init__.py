"""Any server that speaks chat completions: vLLM, SGLang, llama-server, Ollama, OpenRouter, DeepSeek, OpenAI …"""

from landline.dialects.chat_completions.dialect import ChatCompletions
from landline.dialects.chat_completions.flags import ChatCompletionsFlags, RequestOverrides
from landline.dialects.chat_completions.tools import Tool, ToolSet

__all__ = ["ChatCompletions", "ChatCompletionsFlags", "RequestOverrides", "Tool", "ToolSet"]
