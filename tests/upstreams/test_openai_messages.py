"""Messages and tools in the form that the OpenAI-shaped vendors accept (facts/providers.md 2.3, 6.2, 7.2)."""

import copy
import json
from typing import Any

import pytest

from gateway.openai_api.errors import GatewayError
from tests.upstreams.openai_chats import HI, TOOL, adapter, chat, sent

VENDORS = ["gpt-4.1", "grok-4.3", "seed-1.6", "hermes-4-70b"]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
AUDIO_URL = {"type": "input_audio", "input_audio": {"url": "https://example.com/a.mp3"}}
PDF = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
VIDEO = {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}
TEXT = {"type": "text", "text": "What is this?"}


def first(model: str, message: dict[str, Any]) -> dict[str, Any]:
    """The first message as sent upstream."""
    found: dict[str, Any] = sent(chat(model, messages=[message]))["messages"][0]
    return found


def refusal(model: str, **parameters: Any) -> tuple[str | None, str | None]:
    bound = chat(model, **parameters)
    with pytest.raises(GatewayError) as caught:
        adapter(bound).build_request(bound)
    assert caught.value.status == 400
    return caught.value.param, caught.value.code


@pytest.mark.parametrize("model", VENDORS)
@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "Be short."},
        {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
        HI,
        {"role": "user", "content": [TEXT, {"type": "text", "text": ""}]},
        {"role": "assistant", "content": "Hello"},
        {"role": "assistant", "content": "Wait", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "4 C"},
    ],
)
def test_what_all_take_travels_unchanged(model: str, message: dict[str, Any]) -> None:
    assert first(model, message) == message


@pytest.mark.parametrize(("model", "role"), [("gpt-4.1", "developer"), *((model, "system") for model in VENDORS[1:])])
def test_developer(model: str, role: str) -> None:
    assert first(model, {"role": "developer", "content": "Be short."}) == {"role": role, "content": "Be short."}


@pytest.mark.parametrize(
    ("model", "named"), [("gpt-4.1", True), ("grok-4.3", False), ("seed-1.6", True), ("hermes-4-70b", False)]
)
def test_names(model: str, named: bool) -> None:
    assert ("name" in first(model, HI | {"name": "ann"})) is named


@pytest.mark.parametrize("model", VENDORS)
def test_what_other_vendors_left_in_the_history_is_taken_out(model: str) -> None:
    clean = {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}
    carried = {
        "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
        "reasoning": "hm",
        "thinking_blocks": [{}],
        "images": ["data:"],
        "cache_control": {"type": "ephemeral"},
        "annotations": [],
        "audio": {"id": "a"},
    }
    call = CALL | {"extra_content": {"google": {}}, "thought_signature": "s"}
    message = clean | carried | {"tool_calls": [call]}
    before = copy.deepcopy(message)
    assert first(model, message) == clean
    assert message == before


@pytest.mark.parametrize(("model", "replayed"), [("gpt-4.1", False), ("grok-4.3", False), ("seed-1.6", True)])
def test_modelark_takes_its_own_thoughts_back(model: str, replayed: bool) -> None:
    own = {"reasoning_content": "hm", "encrypted_content": "e"}
    message = {"role": "assistant", "content": "Hello"}
    assert first(model, message | own) == (message | own if replayed else message)


def test_modelark_does_not_get_the_thoughts_of_another_vendor() -> None:
    detail = {"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "anthropic-claude-v1", "index": 0}
    message = {"role": "assistant", "content": "Hello"}
    assert first("seed-1.6", message | {"reasoning_content": "hm", "reasoning_details": [detail]}) == message


@pytest.mark.parametrize("model", VENDORS)
def test_nulls_are_left_out(model: str) -> None:
    """OpenAI: "Invalid type for 'messages[0].name': expected a string, but got null instead."."""
    said = {"content": "x", "name": None, "refusal": None, "reasoning_content": None, "encrypted_content": None}
    for role in ("user", "assistant", "system"):
        assert first(model, {"role": role, **said}) == {"role": role, "content": "x"}


def test_nulls_inside_parts_are_left_out() -> None:
    data = "data:application/pdf;base64,JVBERi0="
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": None}},
        {"type": "file", "file": {"file_data": data, "filename": None, "file_id": None}},
    ]
    picture, file = first("gpt-4.1", {"role": "user", "content": parts})["content"]
    assert picture["image_url"] == {"url": "https://example.com/a.png"}
    assert file["file"] == {"file_data": data}


@pytest.mark.parametrize(
    ("model", "part", "own"),
    [
        ("gpt-4.1", PICTURE, {}),
        ("gpt-4.1", PDF, {}),
        ("grok-4", PICTURE, {}),
        ("seed-1.6", PICTURE, {"image_pixel_limit": {"max_pixels": 9}, "max_pixels": 9, "min_pixels": 1}),
        ("seed-1.6", VIDEO, {}),
        ("seed-2.0-lite", AUDIO, {}),
    ],
)
def test_unknown_keys_inside_parts_are_left_out(model: str, part: dict[str, Any], own: dict[str, Any]) -> None:
    """OpenAI refuses them; LiteLLM's clients send ``format`` beside an image's URL."""
    kind = part["type"]
    told = part | {kind: part[kind] | own}
    noisy = told | {kind: {"format": "png", "image_pixel_limit": {"max_pixels": 9}, "fmt": 1} | told[kind]}
    assert first(model, {"role": "user", "content": [noisy]})["content"] == [told]


@pytest.mark.parametrize("model", VENDORS)
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_cache_breakpoints_are_left_out(model: str, role: str) -> None:
    """OpenAI takes them for gpt-5.6 and later, which are not in the catalogue; its SDK has them for every model."""
    marked = TEXT | {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
    assert first(model, {"role": role, "content": [marked]})["content"] == [TEXT]


@pytest.mark.parametrize("empty", [[], None])
def test_an_empty_list_of_calls_is_left_out(empty: Any) -> None:
    assert first("gpt-4.1", {"role": "assistant", "content": "x", "tool_calls": empty}) == {
        "role": "assistant",
        "content": "x",
    }


@pytest.mark.parametrize(
    ("model", "content"), [("gpt-4.1", None), ("grok-4.3", ""), ("seed-1.6", ""), ("hermes-4-70b", None)]
)
def test_xai_and_modelark_want_content_beside_calls(model: str, content: str | None) -> None:
    """Claude's and OpenAI's answers have none, and SDKs send it back as null, or not at all."""
    for absent in ({"content": None}, {}):
        assert first(model, {"role": "assistant", "tool_calls": [CALL], **absent}).get("content") == content


@pytest.mark.parametrize("model", VENDORS)
@pytest.mark.parametrize(
    "message", [{"role": "user"}, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c"}]
)
def test_no_parts_are_an_empty_text(model: str, message: dict[str, Any]) -> None:
    """OpenAI refuses an empty list (``empty_array``), which LangChain.js sends beside calls."""
    assert first(model, {**message, "content": []})["content"] == ""


@pytest.mark.parametrize("message", [{"content": []}, {"content": ""}, {"content": None, "refusal": ""}])
def test_an_answer_that_was_empty_is_empty_for_xai(message: dict[str, Any]) -> None:
    assert first("grok-4.3", {"role": "assistant", **message}) == {"role": "assistant", "content": ""}


@pytest.mark.parametrize("model", VENDORS)
@pytest.mark.parametrize("absent", [{"content": None}, {}, {"content": None, "refusal": None, "tool_calls": []}])
def test_an_answer_whose_refusal_the_client_dropped_is_empty(model: str, absent: dict[str, Any]) -> None:
    """A refusal has no content, and a vendor requires one of the two, or calls."""
    assert first(model, {"role": "assistant", **absent}) == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(("model", "left"), [("gpt-4.1", 8), ("grok-4.3", 2), ("seed-1.8", 8), ("hermes-4-70b", 8)])
def test_rules_of_nothing_are_none_for_xai(model: str, left: int) -> None:
    nothing: list[Any] = ["", [], [{"type": "text", "text": ""}]]
    empty = [{"role": role, "content": content} for role in ("system", "developer") for content in nothing]
    messages = sent(chat(model, messages=[*empty, {"role": "system", "content": "Be short."}, HI]))["messages"]
    assert len(messages) == left
    assert messages[-2:] == [{"role": "system", "content": "Be short."}, HI]


@pytest.mark.parametrize("model", VENDORS)
def test_no_arguments_are_empty_arguments(model: str) -> None:
    call = CALL | {"function": {"name": "weather", "arguments": ""}}
    [told] = first(model, {"role": "assistant", "content": "", "tool_calls": [call]})["tool_calls"]
    assert told == CALL


def ids(model: str, *given: str) -> list[str]:
    """The upstream ids of two calls and their results, in order."""
    calls = {"role": "assistant", "content": None, "tool_calls": [CALL | {"id": call_id} for call_id in given]}
    results = [{"role": "tool", "tool_call_id": call_id, "content": "4 C"} for call_id in given]
    calling, *told = sent(chat(model, messages=[HI, calls, *results]))["messages"][1:]
    return [call["id"] for call in calling["tool_calls"]] + [result["tool_call_id"] for result in told]


def test_ids_that_are_too_long_for_openai_stay_apart_and_belong_to_their_results() -> None:
    longest, other, another = "c" * 40, "c" * 41, "c" * 40 + "d"
    first_id, second_id, *told = ids("gpt-4.1", other, another)
    assert told == [first_id, second_id]
    assert len({first_id, second_id, longest}) == 3
    assert max(map(len, told)) <= 40
    assert ids("gpt-4.1", other, longest) == [first_id, longest] * 2
    assert ids("grok-4.3", other, another) == [other, another] * 2


@pytest.mark.parametrize(("model", "custom"), [("gpt-4.1", True), *((model, False) for model in VENDORS[1:])])
def test_a_custom_call_of_openai_is_a_function_call_elsewhere(model: str, custom: bool) -> None:
    call = {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": 'print("é")'}}
    [told] = first(model, {"role": "assistant", "content": None, "tool_calls": [call]})["tool_calls"]
    if custom:
        assert told == call
    else:
        assert (told["id"], told["type"], told["function"]["name"]) == ("call_1", "function", "run")
        assert json.loads(told["function"]["arguments"]) == {"input": 'print("é")'}


@pytest.mark.parametrize(("model", "kept"), [("gpt-4.1", True), ("grok-4.3", False)])
def test_refusals(model: str, kept: bool) -> None:
    told = first(model, {"role": "assistant", "content": None, "refusal": "no"})
    assert ("refusal" in told) is kept
    [part] = first(model, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]})["content"]
    assert part == ({"type": "refusal", "refusal": "no"} if kept else {"type": "text", "text": "no"})


@pytest.mark.parametrize("model", ["grok-4.3", "seed-1.6", "hermes-4-70b"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("Well,", "Well,\n\nno"),
        ([TEXT], [TEXT, {"type": "text", "text": "no"}]),
        ([], "no"),
    ],
)
def test_a_refusal_follows_the_text_before_it(model: str, content: Any, told: Any) -> None:
    """The gateway's own answers have both where Claude refuses in the middle."""
    message = {"role": "assistant", "content": content, "refusal": "no"}
    assert first(model, message) == {"role": "assistant", "content": told}


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("gpt-4.1", PICTURE),
        ("gpt-4.1", PDF),
        ("o4-mini", PICTURE),
        ("grok-4", PICTURE),
        ("seed-1.6", PICTURE),
        ("seed-1.6", VIDEO),
        ("seed-2.0-lite", AUDIO),
    ],
)
def test_parts_that_the_model_reads(model: str, part: dict[str, Any]) -> None:
    content = [TEXT, part]
    assert first(model, {"role": "user", "content": content})["content"] == content
    marked = part | {"cache_control": {"type": "ephemeral"}}
    assert first(model, {"role": "user", "content": [TEXT, marked]})["content"] == content


def test_modelark_fetches_recordings() -> None:
    """A form of its own (7.2), which OpenAI's types do not have."""
    bound = chat("seed-2.0-lite", messages=[{"role": "user", "content": [TEXT, AUDIO_URL]}])
    assert json.loads(adapter(bound).build_request(bound).body)["messages"] == bound.body["messages"]


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("gpt-4.1", AUDIO),
        ("gpt-4.1", VIDEO),
        ("grok-3", PICTURE),
        ("grok-2", PICTURE),
        ("grok-4", PDF),
        ("grok-4", AUDIO),
        ("seed-1.6", AUDIO),
        ("seed-1.6", PDF),
        ("hermes-4-70b", PICTURE),
        ("hermes-4-70b", PDF),
    ],
)
def test_parts_that_the_model_cannot_read(model: str, part: dict[str, Any]) -> None:
    messages = [HI, {"role": "user", "content": [TEXT, part]}]
    assert refusal(model, messages=messages) == ("messages[1].content[1].type", "unsupported_value")


def test_pictures_in_tool_results() -> None:
    message = {"role": "tool", "tool_call_id": "call_1", "content": [PICTURE]}
    assert refusal("gpt-4.1", messages=[message]) == ("messages[0].content[0].type", "unsupported_value")


@pytest.mark.parametrize(("model", "strict"), [("gpt-4.1", True), ("grok-4.3", False), ("hermes-4-70b", False)])
def test_tools(model: str, strict: bool) -> None:
    full = {"name": "weather", "description": "Tells it", "parameters": {"type": "object"}, "strict": True}
    [tool] = sent(chat(model, tools=[{"type": "function", "function": full, "cache_control": {}}]))["tools"]
    assert tool["function"] == {key: value for key, value in full.items() if strict or key != "strict"}


def test_tools_without_parameters_stay_without() -> None:
    function = {"name": "f", "description": None, "parameters": None, "strict": None}
    assert sent(chat(tools=[{"type": "function", "function": function}]))["tools"] == [
        {"type": "function", "function": {"name": "f"}}
    ]
    assert "tools" not in sent(chat(tools=[]))


@pytest.mark.parametrize("model", VENDORS)
def test_custom_tools(model: str) -> None:
    tool = {"type": "custom", "custom": {"name": "shell"}}
    if model == "gpt-4.1":
        assert sent(chat(model, tools=[TOOL, tool]))["tools"][1] == tool
    else:
        assert refusal(model, tools=[TOOL, tool]) == ("tools[1].type", "unsupported_value")


def test_nulls_of_a_custom_tool_are_left_out() -> None:
    tool = {"type": "custom", "custom": {"name": "shell", "description": None, "format": None}}
    assert sent(chat(tools=[tool]))["tools"] == [{"type": "custom", "custom": {"name": "shell"}}]


def test_custom_calls_in_the_history() -> None:
    call = {"id": "call_1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call | {"extra_content": {}}]}
    assert first("gpt-4.1", message)["tool_calls"] == [call]
