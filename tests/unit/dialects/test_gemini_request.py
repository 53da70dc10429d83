"""Settings, tools and the way to the model, as Gemini names them."""

import json
from typing import Any

import pytest

from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.dialects.gemini import Gemini, GeminiFlags
from landline.session.lineage import Link
from landline.wire.errors import ApiError
from landline.wire.items import decode_item
from support.conversations.chat import create, message
from support.conversations.gemini import MODEL, build, build_request, error

HI = [message("user", "hi")]
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}
FUNCTION = {"type": "function", "name": "f", "description": "Does f.", "parameters": SCHEMA}
OTHER = {"type": "function", "name": "g", "parameters": None}
each_format = pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"responseMimeType": "application/json"}),
        (
            {"type": "json_schema", "name": "a", "strict": True, "schema": SCHEMA},
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        ),
    ],
)
CUSTOM = {"type": "custom", "name": "apply_patch", "description": "Patches."}


def path(model: str) -> str:
    made = build_request(HI, model=model)
    assert isinstance(made, UpstreamRequest)
    return made.path


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (MODEL, f"/models/{MODEL}:streamGenerateContent?alt=sse"),
        ("models/gemini-4-argon", "/models/gemini-4-argon:streamGenerateContent?alt=sse"),
        ("tunedModels/mine-1", "/tunedModels/mine-1:streamGenerateContent?alt=sse"),
        ("odd name?", "/models/odd%20name%3F:streamGenerateContent?alt=sse"),
    ],
)
def test_the_model_is_in_the_path(model: str, wanted: str) -> None:
    assert path(model) == wanted


def test_a_bare_question_is_nothing_but_its_contents() -> None:
    assert build(HI) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_settings_have_their_gemini_names() -> None:
    body = build(
        HI,
        temperature=0.5,
        top_p=0.9,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        max_output_tokens=100,
        top_logprobs=3,
        service_tier="flex",
        parallel_tool_calls=False,
        store=True,
        metadata={"a": "b"},
        prompt_cache_key="k",
        user="u",
    )
    assert body["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "maxOutputTokens": 100,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    assert body["serviceTier"] == "flex"
    assert set(body) == {"contents", "generationConfig", "serviceTier"}


def test_logprobs_without_likely_ones_are_asked_for_alone() -> None:
    body = build(HI, include=["message.output_text.logprobs"])
    assert body["generationConfig"] == {"responseLogprobs": True}


@each_format
def test_formats_beside_tools(form: dict[str, Any], wanted: dict[str, Any] | None) -> None:
    body = build(HI, text={"format": form}, tools=[FUNCTION])
    assert body.get("generationConfig") == wanted
    assert "systemInstruction" not in body


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.0-flash", "gemma-4-27b-it"])
@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_model_that_takes_no_format_beside_tools_is_told_it_in_words(model: str, choice: str) -> None:
    form = {"type": "json_schema", "name": "a", "strict": True, "schema": SCHEMA}
    asked: dict[str, Any] = {
        "text": {"format": form},
        "instructions": "Be kind.",
        "tool_choice": choice,
        "model": model,
    }
    body = build(HI, tools=[FUNCTION], **asked)
    assert "generationConfig" not in body
    (told,) = body["systemInstruction"]["parts"]
    assert told["text"].startswith("Be kind.\n\nWhen you answer")
    assert told["text"].endswith(json.dumps(SCHEMA))
    made = build_request(HI, tools=[FUNCTION], **asked)
    assert isinstance(made, UpstreamRequest)
    assert any("text.format" in note for note in made.notes)


def test_without_tools_every_model_takes_a_format() -> None:
    form = {"type": "json_object"}
    body = build(HI, model="gemini-2.5-flash", text={"format": form})
    assert body["generationConfig"] == {"responseMimeType": "application/json"}


def test_flags_say_whether_a_format_goes_beside_tools() -> None:
    asked: dict[str, Any] = {"text": {"format": {"type": "json_object"}}, "tools": [FUNCTION]}
    old = build(HI, model="gemini-2.5-flash", flags=GeminiFlags(schema_with_tools="send"), **asked)
    new = build(HI, flags=GeminiFlags(schema_with_tools="tell"), **asked)
    assert ("generationConfig" in old, "generationConfig" in new) == (True, False)
    assert "JSON" in new["systemInstruction"]["parts"][0]["text"]


@each_format
def test_formats(form: dict[str, Any], wanted: dict[str, Any] | None) -> None:
    assert build(HI, text={"format": form}).get("generationConfig") == wanted


@pytest.mark.parametrize(
    ("model", "effort", "wanted"),
    [
        ("gemini-3.8-flash", "none", {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", "low", {"thinkingLevel": "LOW"}),
        ("gemini-3.8-flash", "medium", {"thinkingLevel": "MEDIUM"}),
        ("gemini-3.8-flash", "high", {"thinkingLevel": "HIGH"}),
        ("gemini-3.8-flash", "xhigh", {"thinkingLevel": "HIGH"}),
        ("gemini-4-argon", "max", {"thinkingLevel": "HIGH"}),
        ("gemini-3.5-flash", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "HIGH"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM"}),
        ("gemini-flash-latest", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192}),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24576}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-pro", "xhigh", {"thinkingBudget": 32768}),
        ("gemini-2.0-flash", "high", None),
        ("gemma-4-27b-it", "high", None),
    ],
)
def test_an_effort_is_what_the_model_has_for_it(model: str, effort: str, wanted: dict[str, Any] | None) -> None:
    config = build(HI, model=model, reasoning={"effort": effort}).get("generationConfig", {})
    assert config.get("thinkingConfig") == wanted


def test_flags_say_what_a_name_does_not() -> None:
    levels = GeminiFlags(thinking="level", thinking_levels=("LOW", "XHIGH"))
    assert build(HI, model="mine", flags=levels, reasoning={"effort": "max"})["generationConfig"] == {
        "thinkingConfig": {"thinkingLevel": "XHIGH"}
    }
    assert "generationConfig" not in build(HI, flags=GeminiFlags(thinking="none"), reasoning={"effort": "high"})


@pytest.mark.parametrize("reasoning", [{"summary": "auto"}, {"generate_summary": "detailed"}])
def test_summaries_are_thoughts(reasoning: dict[str, Any]) -> None:
    body = build(HI, reasoning=reasoning)
    assert body["generationConfig"]["thinkingConfig"] == {"includeThoughts": True}


def test_reasoning_that_asks_nothing_says_nothing() -> None:
    assert "generationConfig" not in build(HI, reasoning={"context": "auto"})


def test_extra_members_replace_ours_and_settings_are_added() -> None:
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    flags = GeminiFlags(extra_body={"safetySettings": safety, "generationConfig": {"topK": 4, "temperature": 0.1}})
    body = build(HI, flags=flags, temperature=1, max_output_tokens=20)
    assert body["safetySettings"] == safety
    assert body["generationConfig"] == {"temperature": 0.1, "maxOutputTokens": 20, "topK": 4}


# Tools.


def test_functions_are_declared_with_their_json_schema() -> None:
    assert build(HI, tools=[FUNCTION, OTHER])["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "Does f.", "parametersJsonSchema": SCHEMA},
                {"name": "g"},
            ]
        }
    ]


@pytest.mark.parametrize("kind", [{}, {"type": None}, {"type": ["object", "null"]}])
def test_the_root_of_a_schema_is_an_object(kind: dict[str, Any]) -> None:
    body = build(HI, tools=[{"type": "function", "name": "f", "parameters": {"properties": {"x": {}}, **kind}}])
    (declaration,) = body["tools"][0]["functionDeclarations"]
    assert declaration["parametersJsonSchema"] == {"type": "object", "properties": {"x": {}}}


def test_a_custom_tool_is_a_function_of_one_string() -> None:
    (declaration,) = build(HI, tools=[CUSTOM])["tools"][0]["functionDeclarations"]
    assert declaration["name"] == "apply_patch"
    assert declaration["parametersJsonSchema"]["required"] == ["input"]


def test_tools_of_namespaces_and_of_items_are_declared_too() -> None:
    space = {"type": "namespace", "name": "files", "tools": [FUNCTION]}
    added = {"type": "additional_tools", "role": "developer", "tools": [space, CUSTOM]}
    body = build([added, message("user", "hi")], tools=[{**FUNCTION, "name": "7z"}, {"type": "web_search"}])
    names = [each["name"] for each in body["tools"][0]["functionDeclarations"]]
    assert names == ["_7z", "files__f", "apply_patch"]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, None),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "name": "f"}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ({"type": "custom", "name": "apply_patch"}, {"mode": "ANY", "allowedFunctionNames": ["apply_patch"]}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]},
            {"mode": "VALIDATED", "allowedFunctionNames": ["g"]},
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]},
            {"mode": "ANY", "allowedFunctionNames": ["g"]},
        ),
        ({"type": "allowed_tools", "mode": "none", "tools": [{"type": "function", "name": "g"}]}, {"mode": "NONE"}),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}, {"mode": "NONE"}),
    ],
)
def test_the_choice_among_tools_leaves_them_all_declared(choice: Any, wanted: dict[str, Any] | None) -> None:
    body = build(HI, tools=[FUNCTION, OTHER, CUSTOM], tool_choice=choice)
    assert body.get("toolConfig") == (None if wanted is None else {"functionCallingConfig": wanted})
    assert len(body["tools"][0]["functionDeclarations"]) == 3


@pytest.mark.parametrize("choice", [None, "auto"])
def test_strict_functions_are_held_to_their_schemas(choice: str | None) -> None:
    body = build(HI, tools=[{**FUNCTION, "strict": True}, OTHER], tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}


def test_a_choice_without_tools_says_nothing() -> None:
    assert "toolConfig" not in build(HI, tool_choice="auto")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "h"}, {"type": "file_search"}])
def test_a_choice_that_cannot_be_made_is_refused(choice: Any) -> None:
    refused = error(HI, tools=[FUNCTION] if choice != "required" else [], tool_choice=choice)
    assert refused.param == "tool_choice"


def test_a_malformed_tool_is_refused() -> None:
    assert (
        error(HI, tools=[{"type": "function", "name": "f", "parameters": SCHEMA, "strict": 1}]).code == "invalid_value"
    )


# Counting.


def test_a_prompt_is_counted_whole() -> None:
    history = Link(None, [decode_item(json.dumps(message("user", "hi")).encode())])
    request = create(instructions="Be kind.", tools=[FUNCTION], max_output_tokens=20)
    prompt = Prompt(history=history, request=request, model=MODEL)
    asked = Gemini().count_requests(prompt)
    assert not isinstance(asked, ApiError)
    (count,) = asked
    assert count.path == f"/models/{MODEL}:countTokens"
    whole = json.loads(count.body)["generateContentRequest"]
    made = Gemini().build_request(prompt)
    assert isinstance(made, UpstreamRequest)
    assert whole == {"model": f"models/{MODEL}", **json.loads(made.body)}
    assert count.read_count(b'{"totalTokens":31,"promptTokensDetails":[]}') == 31
    assert count.read_count(b"[]") is None


def test_what_cannot_be_asked_cannot_be_counted() -> None:
    prompt = Prompt(history=None, request=create(), model=MODEL)
    assert isinstance(Gemini().count_requests(prompt), ApiError)


def test_warm_ups_are_not_asked_and_nothing_is_compacted_upstream() -> None:
    assert (Gemini().prefills_warm_up, Gemini().compacts) == (False, False)
