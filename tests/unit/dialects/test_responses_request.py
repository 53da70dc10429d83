"""Requests to servers that speak Responses: the client's own bytes, but for what is ours to say."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.dialect import Prompt
from landline.dialects.responses import Responses, ResponsesFlags, dialect
from landline.session.lineage import Link
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item, Signed, decode_item
from landline.wire.requests import CreateRequest, decode_create

USER = b'{"role":"user",  "content":"hi \\u00e9","x":{"n":1.50}}'
CALL = b'{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}","status":"completed"}'
OUTPUT = b'{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"done"}]}'
STRANGE = b'{"type":"vendor:thing","id":"th_1","data":[1,  2]}'
FOREIGN = b'{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA","content":null}'
PLAIN = b'{"type":"reasoning","id":"rs_2","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}'
SUMMARY = b'{"type":"reasoning","id":"rs_3","summary":[{"type":"summary_text","text":"hm"}]}'
SEALED_HERE = b'{"type":"reasoning","id":"rs_4","summary":[],"encrypted_content":"AQours"}'


def lineage(*links: Sequence[bytes | Item]) -> Link | None:
    history: Link | None = None
    for each in links:
        history = Link(history, [item if isinstance(item, Item) else decode_item(item) for item in each])
    return history


def prompt_of(body: dict[str, Any] | bytes, *links: Sequence[bytes | Item], **more: Any) -> Prompt:
    data = body if isinstance(body, bytes) else json.dumps({"model": "ours", **body}).encode()
    request = decode_create(data)
    assert isinstance(request, CreateRequest)
    history = lineage(*(links or ([USER],)))
    fields: dict[str, Any] = {"history": history, "request": request, "model": "theirs", "body": data, **more}
    return Prompt(**fields)


def body_of(prompt: Prompt, **flags: Any) -> bytes:
    made = Responses(ResponsesFlags(**flags)).build_request(prompt)
    assert not isinstance(made, ApiError)
    return made.body


def sent(body: dict[str, Any], *links: Sequence[bytes | Item], flags: dict[str, Any] | None = None, **more: Any) -> Any:
    return json.loads(body_of(prompt_of(body, *links, **more), **(flags or {})))


def input_bytes(body: bytes) -> bytes:
    return bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["input"])


def signed(raw: bytes, by: str = "anthropic") -> Item:
    return msgspec.structs.replace(decode_item(raw), signed=Signed(by, ("{}",)))


def test_history_may_be_empty() -> None:
    assert sent({}, history=None)["input"] == []


def test_items_go_out_as_the_bytes_that_came_in() -> None:
    body = body_of(prompt_of({}, [USER, STRANGE], [CALL], [OUTPUT]))
    assert input_bytes(body) == b"[" + b",".join((USER, STRANGE, CALL, OUTPUT)) + b"]"


def test_settings_go_out_as_the_bytes_that_came_in() -> None:
    settings = b'"vendor_x":{"a":  1.50,"b":"\\u00e9"},"tools":[{"type":"web_search","new":  []}],"temperature":1.0'
    body = body_of(prompt_of(b'{"model":"ours",' + settings + b',"input":"hi"}'))
    assert body.startswith(b'{"model":"theirs",' + settings + b',"stream":true')


def test_what_concerns_our_client_only_is_left_out() -> None:
    ours = {
        "type": "response.create",
        "stream_id": "a",
        "stream": False,
        "background": False,
        "generate": True,
        "conversation": "conv_1",
        "input": "hi",
    }
    assert set(sent({**ours, "store": True})) == {"model", "store", "stream", "input"}
    assert "previous_response_id" not in sent({"previous_response_id": "resp_ours"})


def test_upstream_is_always_asked_for_a_stream() -> None:
    assert sent({})["stream"] is True
    assert sent({"stream": True, "stream_options": {"include_obfuscation": False}})["stream_options"] == {
        "include_obfuscation": False
    }
    assert "stream_options" not in sent({"stream": True, "stream_options": {}})


def test_model_is_the_upstreams() -> None:
    assert sent({})["model"] == "theirs"


def test_request_counts_where_it_differs_from_the_body() -> None:
    body = {
        "tools": [{"type": "function", "name": "f"}],
        "tool_choice": "auto",
        "max_output_tokens": 16,
        "text": {"format": {"type": "json_object"}},
        "include": ["reasoning.encrypted_content"],
        "vendor_x": 1,
        "reasoning": {"effort": "low", "vendor_y": 2},
    }
    prompt = prompt_of(body)
    summary = {"tool_choice": "none", "max_output_tokens": 512, "text": None, "include": None}
    request = msgspec.structs.replace(prompt.request, **summary)
    made = json.loads(body_of(msgspec.structs.replace(prompt, request=request)))
    assert made.pop("input")
    assert made == {
        "model": "theirs",
        "tools": body["tools"],
        "tool_choice": "none",
        "max_output_tokens": 512,
        "vendor_x": 1,
        "reasoning": body["reasoning"],
        "stream": True,
    }


def test_landline_asks_for_no_less_output_than_the_api_allows() -> None:
    prompt = prompt_of({"max_output_tokens": 100})
    request = msgspec.structs.replace(prompt.request, max_output_tokens=1)
    assert json.loads(body_of(msgspec.structs.replace(prompt, request=request)))["max_output_tokens"] == 16


def test_turn_that_no_client_sent_is_made_from_its_request() -> None:
    given = {
        "model": "ours",
        "instructions": "Be kind.",
        "tools": [{"type": "function", "name": "f", "parameters": {"default": None}}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"enum": [None]}}},
        "reasoning": {"effort": "low"},
    }
    made = json.loads(body_of(msgspec.structs.replace(prompt_of(given), body=b"")))
    assert made.pop("input")
    assert made == {**given, "model": "theirs", "stream": True}


def test_store_is_passed_as_the_client_said_it_unless_it_may_never_be() -> None:
    assert "store" not in sent({})
    assert sent({"store": True})["store"] is True
    assert sent({"store": True}, flags={"store": "never"})["store"] is False
    assert sent({}, flags={"store": "never"})["store"] is False


def test_compaction_is_asked_for_by_its_trigger() -> None:
    managed = {"context_management": [{"type": "compaction", "compact_threshold": 100}], "truncation": "auto"}
    made = sent(managed, is_compaction=True)
    assert made["input"][-1] == {"type": "compaction_trigger"}
    assert made["context_management"] == managed["context_management"]
    assert made["truncation"] == "auto"
    assert "context_management" not in sent(managed, flags={"compaction": "landline"})
    assert (Responses().compacts, Responses(ResponsesFlags(compaction="landline")).compacts) == (True, False)


def test_conversation_is_named_to_routers_and_to_the_cache_if_asked() -> None:
    prompt = prompt_of({}, affinity_key="line é")
    made = Responses().build_request(prompt)
    assert not isinstance(made, ApiError)
    assert made.headers["X-Session-Id"] == "line%20%C3%A9"
    assert "prompt_cache_key" not in json.loads(made.body)
    assert sent({}, affinity_key="line", flags={"cache_key": True})["prompt_cache_key"] == "line"
    assert (
        sent({"prompt_cache_key": "own"}, affinity_key="line", flags={"cache_key": True})["prompt_cache_key"] == "own"
    )
    assert "prompt_cache_key" not in sent({}, flags={"cache_key": True})


def test_reasoning_that_the_upstream_may_have_made_goes_back_as_it_came() -> None:
    items = (USER, FOREIGN, SUMMARY, CALL, OUTPUT, FOREIGN, STRANGE)
    assert input_bytes(body_of(prompt_of({}, items))) == b"[" + b",".join(items) + b"]"


@pytest.mark.parametrize("behind", [[], [USER], [OUTPUT, CALL]], ids=["end", "user", "output"])
@pytest.mark.parametrize("thought", [FOREIGN, SUMMARY], ids=["encrypted", "stored"])
def test_reasoning_that_led_to_nothing_is_left_out(thought: bytes, behind: list[bytes]) -> None:
    """As an answer leaves it behind that was stopped: OpenAI refuses it without what it led to."""
    for links in ([[USER, thought, *behind]], [[USER], [thought], *[[item] for item in behind]]):
        assert input_bytes(body_of(prompt_of({}, *links))) == b"[" + b",".join((USER, *behind)) + b"]"


def test_reasoning_that_nobody_stored_is_left_out_with_the_ids_of_what_it_led_to() -> None:
    links = ([USER, SUMMARY], [CALL], [OUTPUT, CALL])
    bare = {name: value for name, value in json.loads(CALL).items() if name != "id"}
    for body, flags in (({"store": False}, {}), ({}, {"store": "never"})):
        items = sent(body, *links, flags=flags)["input"]
        assert items == [json.loads(USER), bare, json.loads(OUTPUT), json.loads(CALL)]
    assert sent({"store": False}, *links, flags={"foreign_reasoning": "send"})["input"][1] == json.loads(SUMMARY)


def test_model_that_reasons_is_asked_for_what_the_next_turn_needs() -> None:
    encrypted = "reasoning.encrypted_content"
    thinks = {"store": False, "reasoning": {"effort": "low"}}
    assert sent(thinks)["include"] == [encrypted]
    assert sent({**thinks, "include": ["x"]})["include"] == ["x", encrypted]
    assert sent({**thinks, "include": [encrypted]})["include"] == [encrypted]
    assert sent({"store": False}, [USER, SUMMARY], [CALL, OUTPUT])["include"] == [encrypted]
    assert "include" not in sent({"store": False}), "models that do not reason refuse to be asked"
    assert "include" not in sent({"store": False}, [USER, PLAIN, CALL, OUTPUT])
    assert "include" not in sent({**thinks, "store": True}), "the upstream finds it by its id"
    assert "include" not in sent(thinks, flags={"keep_reasoning": False})
    assert "include" not in sent(thinks, flags={"foreign_reasoning": "send"}), "it says its reasoning plainly"


def test_model_that_does_not_reason_is_asked_again_without_asking_for_reasoning() -> None:
    prompt = prompt_of({"store": False, "reasoning": {"summary": "auto"}})
    for message in ("Encrypted content is not supported with this model.", "property 'include' is unsupported"):
        refused = api_error("invalid_value", message)
        retry = Responses().retry_request(prompt, refused)
        assert retry is not None
        assert "include" not in json.loads(retry.body)
        assert json.loads(retry.body)["reasoning"] == {"summary": "auto"}
    assert Responses().retry_request(prompt, api_error("invalid_value", "Must include a tool.")) is None
    unasked = api_error("invalid_value", "property 'include' is unsupported")
    assert Responses().retry_request(prompt_of({}, history=None), unasked) is None


@pytest.mark.parametrize("item", [PLAIN, signed(SEALED_HERE), signed(FOREIGN)], ids=["plain", "sealed", "signed"])
def test_reasoning_of_others_is_left_out_and_counted(item: bytes | Item) -> None:
    made = Responses().build_request(prompt_of({}, [USER, item], [item], [CALL, OUTPUT]))
    assert not isinstance(made, ApiError)
    assert input_bytes(made.body) == b"[" + b",".join((USER, CALL, OUTPUT)) + b"]"
    assert made.notes == ("2 reasoning items",)


def test_reasoning_of_others_is_sent_without_our_seal_where_it_can_be_used() -> None:
    items = sent({}, [PLAIN, signed(SEALED_HERE)], flags={"foreign_reasoning": "send"})["input"]
    assert items == [json.loads(PLAIN), {"type": "reasoning", "id": "rs_4", "summary": []}]


def test_refused_reasoning_is_left_out_the_second_time() -> None:
    prompt = prompt_of({}, [USER, FOREIGN, CALL], [OUTPUT, SUMMARY, STRANGE])
    for error in (
        api_error("invalid_encrypted_content", "could not be verified"),
        api_error("upstream_error", "The target failed with status 404: Item with id 'rs_3' not found."),
        api_error("invalid_value", "Could not decrypt the encrypted_content that was given."),
    ):
        retry = Responses().retry_request(prompt, error)
        assert retry is not None
        assert retry.notes == ("2 reasoning items",)
        call = {name: value for name, value in json.loads(CALL).items() if name != "id"}
        assert json.loads(retry.body)["input"] == [
            json.loads(USER),
            call,
            json.loads(OUTPUT),
            {"type": "vendor:thing", "data": [1, 2]},
        ]


def test_other_refusals_are_the_answer() -> None:
    refused = api_error("invalid_encrypted_content", "could not be verified")
    compaction = b'{"type":"compaction","encrypted_content":"gAAAA"}'
    assert Responses().retry_request(prompt_of({}, [USER, FOREIGN]), api_error("invalid_value", "no")) is None
    assert Responses().retry_request(prompt_of({}, [USER]), refused) is None, "there is nothing to leave out"
    assert Responses().retry_request(prompt_of({}, [compaction, FOREIGN]), refused) is None


@given(st.lists(st.sampled_from([USER, CALL, OUTPUT, STRANGE, FOREIGN, PLAIN, SUMMARY]), min_size=1), st.data())
def test_any_cut_into_links_gives_the_same_body(items: list[bytes], data: st.DataObject) -> None:
    links: list[list[bytes]] = [[]]
    for item in items:
        if links[-1] and data.draw(st.booleans()):
            links.append([])
        links[-1].append(item)
    whole, cut = prompt_of({}, items), prompt_of({}, *links)
    assert Responses().build_request(cut) == Responses().build_request(whole)


def test_each_link_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []
    render = dialect.render_items

    def counting(before: Any, items: Sequence[Item], *args: Any, **options: Any) -> Any:
        rendered.append(len(items))
        return render(before, items, *args, **options)

    monkeypatch.setattr(dialect, "render_items", counting)
    history = lineage([USER] * 100)
    for _ in range(3):
        history = Link(history, [decode_item(USER)])
        Responses().build_request(prompt_of({}, history=history))
    assert rendered == [100, 1, 1, 1]


def frame(prompt: Prompt, *items: bytes, flags: dict[str, Any] | None = None, **options: Any) -> Any:
    made = Responses(ResponsesFlags(**(flags or {}))).build_frame(
        prompt, [decode_item(each) for each in items], **options
    )
    assert not isinstance(made, ApiError)
    return json.loads(made)


def test_frame_has_only_the_items_that_are_given() -> None:
    prompt = prompt_of({"stream": True, "stream_options": {}, "store": False, "vendor_x": 1}, [USER, CALL], [OUTPUT])
    assert frame(prompt, OUTPUT, previous_response_id="resp_up", stream_id="a") == {
        "type": "response.create",
        "stream_id": "a",
        "previous_response_id": "resp_up",
        "model": "theirs",
        "store": False,
        "vendor_x": 1,
        "input": [json.loads(OUTPUT)],
    }
    assert not {"stream_id", "previous_response_id"} & set(frame(prompt, USER, CALL, OUTPUT))


def test_frame_of_a_warm_up_is_one() -> None:
    assert frame(prompt_of({"generate": False}), USER)["generate"] is False
    assert "generate" not in frame(prompt_of({"generate": True}), USER)
    prewarm = {"prompt_cache_options": {"prewarm": True}}
    assert frame(prompt_of(prewarm), USER)["prompt_cache_options"] == prewarm["prompt_cache_options"]


def test_instructions_are_left_out_behind_a_response_where_they_are_refused() -> None:
    prompt = prompt_of({"instructions": "Be kind."})
    omit = {"instructions_with_previous": "omit"}
    assert frame(prompt, USER, previous_response_id="resp_up")["instructions"] == "Be kind."
    assert "instructions" not in frame(prompt, USER, previous_response_id="resp_up", flags=omit)
    assert frame(prompt, USER, flags=omit)["instructions"] == "Be kind."


def test_count_asks_for_what_shapes_the_input_only() -> None:
    body = {"tools": [], "instructions": "i", "max_output_tokens": 16, "store": False, "vendor_x": 1}
    [request] = Responses().count_requests(prompt_of(body, [USER, PLAIN], [CALL]))  # pyright: ignore[reportGeneralTypeIssues]
    assert request.path == "/responses/input_tokens"
    assert json.loads(request.body) == {
        "model": "theirs",
        "tools": [],
        "instructions": "i",
        "input": [json.loads(USER), json.loads(CALL)],
    }
    assert request.read_count(b'{"object":"response.input_tokens","input_tokens":7}') == 7
    assert request.read_count(b'{"detail":"Not Found"}') is None
    assert request.read_count(b"<html>") is None


def test_warm_up_is_not_worth_a_request_over_http() -> None:
    assert not Responses().prefills_warm_up
