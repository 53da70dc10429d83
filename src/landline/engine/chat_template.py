"""The chat template that the child gets: the model's own, with a prelude in front of one that knows no tools.

A template that never mentions `tools` drops calls and tool results without a word. The prelude rewrites such messages into
plain ones before the model's own template sees them: a call becomes the JSON that the model is asked to write (so that
the tokens of a call that it wrote itself are found again in the KV cache), a result becomes a user message.
"""

import re
from pathlib import Path

from landline.engine.gguf import GgufHead
from landline.engine.settings import EngineSettings

_TOOLS_WORD = re.compile(r"\btools\b")

_PRELUDE = """\
{%- set landline = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- set text = message['content'] or '' -%}
{%- if message['role'] == 'tool' -%}
{%- set landline.messages = landline.messages + [{'role': 'user', 'content': 'The function returned:\\n' ~ text}] -%}
{%- elif message['tool_calls'] -%}
{%- set call = namespace(text=text) -%}
{%- for each in message['tool_calls'] -%}
{%- set arguments = each['function']['arguments'] -%}
{%- set call.text = call.text ~ ('\\n' if call.text else '') ~ '{"name": ' ~ (each['function']['name'] | tojson)
    ~ ', "arguments": ' ~ (arguments if arguments is string else arguments | tojson) ~ '}' -%}
{%- endfor -%}
{%- set landline.messages = landline.messages + [{'role': 'assistant', 'content': call.text}] -%}
{%- else -%}
{%- set landline.messages = landline.messages + [{'role': message['role'], 'content': text}] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = landline.messages -%}
"""


_CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' ~ message['role'] ~ '\\n' ~ message['content'] ~ '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""What llama.cpp takes for a model that brings no template."""


def choose_chat_template(head: GgufHead, settings: EngineSettings) -> str:
    """The Jinja source that the child is given; empty leaves the choice to the model's file."""
    template = chat_template_of(head, settings)
    if knows_tools(template):
        return template or "" if settings.chat_template is not None else ""
    return _PRELUDE + (template or _CHATML)


def chat_template_of(head: GgufHead, settings: EngineSettings) -> str | None:
    """The template before anything is put in front of it; None when neither file nor settings have one."""
    if settings.chat_template is not None:
        return Path(settings.chat_template).expanduser().read_text()
    return head.chat_template


def knows_tools(template: str | None) -> bool:
    """Whether the template shows tools itself."""
    return template is not None and _TOOLS_WORD.search(template) is not None
