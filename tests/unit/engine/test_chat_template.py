from pathlib import Path

from landline.engine.chat_template import choose_chat_template, knows_tools
from landline.engine.gguf import GgufHead
from landline.engine.settings import EngineSettings

PLAIN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
TOOLS = "{% if tools %}{{ tools }}{% endif %}"


def head(template: str | None) -> GgufHead:
    return GgufHead("llama", None, None, template)


def test_a_template_that_knows_tools_is_left_to_the_models_file() -> None:
    assert choose_chat_template(head(TOOLS), EngineSettings()) == ""


def test_a_template_that_knows_none_gets_a_prelude_and_stays_whole() -> None:
    chosen = choose_chat_template(head(PLAIN), EngineSettings())
    assert chosen.endswith(PLAIN)
    assert "tool_calls" in chosen


def test_a_model_without_a_template_gets_one() -> None:
    assert "<|im_start|>" in choose_chat_template(head(None), EngineSettings())


def test_a_template_of_the_user_replaces_the_models(tmp_path: Path) -> None:
    path = tmp_path / "template.jinja"
    path.write_text(TOOLS)
    assert choose_chat_template(head(PLAIN), EngineSettings(chat_template=str(path))) == TOOLS
    path.write_text(PLAIN)
    assert choose_chat_template(head(TOOLS), EngineSettings(chat_template=str(path))).endswith(PLAIN)


def test_a_template_knows_tools_if_it_says_the_word() -> None:
    assert knows_tools(TOOLS)
    assert not knows_tools("{{ toolset }}")
    assert not knows_tools(None)
