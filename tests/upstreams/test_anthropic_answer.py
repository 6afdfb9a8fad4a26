"""Anthropic's answers, streamed and complete, converted to OpenAI's (facts/providers.md 3.11, 3.12, 12.2)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.deltas import Delta, Finish, Reasoning, Text, ToolCallArguments, ToolCallStart
from gateway.openai_api.errors import GatewayError
from tests.upstreams.anthropic_chats import adapter, as_stream, chat
from tests.upstreams.anthropic_events import answer, block, complete, end, start, streamed, text, tool
from tests.upstreams.decoding import put_together, read_stream


def test_the_deltas_of_a_stream_one_by_one() -> None:
    deltas = streamed(
        start(),
        {"type": "ping"},
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm."},
            {"type": "signature_delta", "signature": "sig"},
        ),
        *block(1, {"type": "redacted_thinking", "data": "c2Vh"}),
        {"type": "unheard_of"},
        *text(2, "Hel", "lo"),
        *tool(3, "", '{"city":', '"Oslo"}'),
        *end("tool_use"),
    )
    assert [delta for delta in deltas if isinstance(delta, Reasoning)] == [
        Reasoning(text="Hm.", format="anthropic-claude-v1", index=0),
        Reasoning(signature="sig", id="claude-haiku-4-5-20251001", format="anthropic-claude-v1", index=0),
        Reasoning(data="c2Vh", id="claude-haiku-4-5-20251001", format="anthropic-claude-v1", index=1),
    ]
    assert [delta for delta in deltas if isinstance(delta, Text)] == [Text("Hel"), Text("lo")]
    assert [delta for delta in deltas if isinstance(delta, ToolCallStart | ToolCallArguments)] == [
        ToolCallStart(index=0, id="toolu_1", name="weather"),
        ToolCallArguments(0, '{"city":'),
        ToolCallArguments(0, '"Oslo"}'),
    ]
    assert deltas[-1] == Finish("tool_calls")


def test_what_the_upstream_says_of_itself() -> None:
    served = put_together(streamed(start(), *text(0, "Hi"), *end())).metadata
    assert (served.id, served.model) == ("msg_1", "claude-haiku-4-5-20251001")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
        ("tool_use", "stop"),
        ("something_new", "stop"),
    ],
)
def test_finish_reasons(reason: str, finish: str) -> None:
    assert answer(start(), *text(0, "Hi"), *end(reason))["finish_reason"] == finish
    whole = complete([{"type": "text", "text": "Hi"}], stop_reason=reason)
    assert whole.choices()[0]["finish_reason"] == finish


def test_a_refusal_explains_itself() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    choice = answer(start(), *end("refusal", stop_details=details))
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "Not this."}
    assert complete([], stop_reason="refusal", stop_details=details).choices() == [choice]


def test_a_tool_without_arguments_gets_an_empty_object() -> None:
    for events in (tool(0), tool(0, ""), tool(0, "", "")):
        call = answer(start(), *events, *end("tool_use"))["message"]["tool_calls"][0]
        assert call["function"] == {"name": "weather", "arguments": "{}"}
    whole = complete([{"type": "tool_use", "id": "t", "name": "weather", "input": {}}], stop_reason="tool_use")
    assert whole.choices()[0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_parallel_calls_count_up_whatever_their_content_index() -> None:
    events = (*text(0, "Let me see"), *tool(1, "{}"), *text(2, "and"), *tool(5, '{"a":1}', call_id="toolu_2"))
    deltas = streamed(start(), *events, *end("tool_use"))
    assert [(d.index, d.id) for d in deltas if isinstance(d, ToolCallStart)] == [(0, "toolu_1"), (1, "toolu_2")]
    assert [(d.index, d.arguments) for d in deltas if isinstance(d, ToolCallArguments)] == [(0, "{}"), (1, '{"a":1}')]


def test_arguments_cut_off_by_max_tokens_are_still_json() -> None:
    call = answer(start(), *tool(0, '{"city":"Os'), *end("max_tokens"))
    assert call["finish_reason"] == "length"
    assert call["message"]["tool_calls"][0]["function"]["arguments"] == '{"city":"Os"}'


def test_blocks_that_never_stop_are_stopped() -> None:
    events = [event for event in tool(0, '{"city":') if event["type"] != "content_block_stop"]
    call = answer(start(), *events, *end("max_tokens"))["message"]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"city":null}'


def test_a_message_may_begin_with_blocks_and_its_end() -> None:
    """A call that code of the vendor's own makes comes so; what begins so once more is the same message."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
    result = {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": {}}
    first = start()
    first["message"] |= {"content": [result, {"type": "text", "text": "Hm."}, call], "stop_reason": "tool_use"}
    for events in ([first, end()[1]], [first, first, *text(3, " So."), *end(None, {"output_tokens": 5})]):
        choice = answer(*events)
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] == ("Hm." if len(events) == 2 else "Hm. So.")
        assert [each["function"]["arguments"] for each in choice["message"]["tool_calls"]] == ['{"city":"Oslo"}']


def test_names_come_back_as_the_caller_wrote_them() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("ns.f", "ns:f")]
    events = (*tool(0, name="ns_f_2"), *tool(1, name="ns_f"), *tool(2, name="invented"))
    message = answer(start(), *events, *end("tool_use"), bound=chat(tools=tools))["message"]
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["ns:f", "ns.f", "invented"]


def test_server_side_tools_stay_behind_and_their_sources_are_cited() -> None:
    citation = {
        "type": "web_search_result_location",
        "url": "https://example.com",
        "title": "Example",
        "cited_text": "x",
        "encrypted_index": "y",
    }
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    events = (
        *text(0, "Searching. "),
        *block(1, search, {"type": "input_json_delta", "partial_json": '{"query":"x"}'}),
        *block(2, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}),
        *block(
            3,
            {"type": "text", "text": "", "citations": []},
            {"type": "text_delta", "text": "It is so."},
            {"type": "citations_delta", "citation": citation},
            {"type": "citations_delta", "citation": {"type": "char_location"}},
        ),
    )
    usage = {"output_tokens": 5, "server_tool_use": {"web_search_requests": 2}}
    assembled = put_together(streamed(start(), *events, *end(usage=usage), bound=chat(web_search=True)))
    message = assembled.choices()[0]["message"]
    assert "tool_calls" not in message
    assert message["content"] == "Searching. It is so."
    where = {"url": "https://example.com", "title": "Example", "start_index": 11, "end_index": 20}
    assert message["annotations"] == [{"type": "url_citation", "url_citation": where}]
    assert assembled.usage is not None
    assert assembled.usage.web_searches == 2

    whole = complete([{"type": "text", "text": "So.", "citations": [citation]}]).choices()[0]["message"]
    assert whole["annotations"][0]["url_citation"]["end_index"] == 3


def test_thinking_after_the_result_of_a_search_has_no_place_streamed_or_not() -> None:
    """In a resumed message the result may be the first block; a block without a type is one that nobody knows."""
    result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    sealed = {"type": "redacted_thinking", "data": "c2VhbA=="}
    for hidden in (result, {}):
        stream = streamed(start(), *block(0, hidden), *block(1, sealed), *end(), bound=chat(web_search=True))
        [detail] = put_together(stream).choices()[0]["message"]["reasoning_details"]
        assert detail["id"] == "claude-haiku-4-5-20251001@"
        [whole] = complete([hidden, sealed], bound=chat(web_search=True)).choices()[0]["message"]["reasoning_details"]
        assert whole == detail


def test_searches_count_before_their_vendor_has_counted() -> None:
    """A client that leaves the stream before its end pays for them too; a search that failed is free."""
    found = [{"type": "web_search_result", "encrypted_content": "x" * 1600}] * 2
    failed = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    results = [
        block(index, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": content})
        for index, content in enumerate((found, failed, []))
    ]
    begun = (start({"input_tokens": 10, "output_tokens": 1}), *results[0], *results[1], *results[2], *text(3, "So."))
    received: list[Delta] = []
    with pytest.raises(GatewayError, match="complete"):
        received.extend(read_stream(adapter().decoder(chat(web_search=True)), as_stream(begun)))
    left = put_together(received).usage
    assert left is not None
    assert (left.web_searches, left.prompt_tokens) == (2, 610)
    usage = {"input_tokens": 700, "output_tokens": 5, "server_tool_use": {"web_search_requests": 3}}
    whole = put_together(streamed(*begun, *end(usage=usage), bound=chat(web_search=True))).usage
    assert whole is not None
    assert (whole.web_searches, whole.prompt_tokens) == (3, 700)


SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def test_the_forced_tools_input_is_the_answer() -> None:
    bound = chat("claude-sonnet-4-0", response_format=SCHEMA_FORMAT)
    choice = answer(start(), *tool(0, "", '{"a"', ":1}", name="json_tool_call"), *end("tool_use"), bound=bound)
    assert choice["message"] == {"role": "assistant", "content": '{"a":1}', "refusal": None}
    assert choice["finish_reason"] == "stop"
    content = [{"type": "tool_use", "id": "t", "name": "json_tool_call", "input": {"a": 1}}]
    assert complete(content, bound, stop_reason="tool_use").choices() == [choice]
    empty = answer(start(), *tool(0, "", name="json_tool_call"), *end("tool_use"), bound=bound)
    assert empty["message"]["content"] == "{}"


def test_fences_come_off_json_objects_only() -> None:
    events = (start(), *text(0, "```js", 'on\n{"a"', ":1}\n", "```"), *end())
    assert answer(*events, bound=chat(response_format={"type": "json_object"}))["message"]["content"] == '{"a":1}'
    assert answer(*events)["message"]["content"] == '```json\n{"a":1}\n```'
    short = answer(start(), *text(0, "``"), *end(), bound=chat(response_format={"type": "json_object"}))
    assert short["message"]["content"] == "``"


# Streamed equals complete

CONTENT = st.lists(
    st.one_of(
        st.builds(lambda words: {"type": "text", "text": words}, st.text(min_size=1)),
        st.builds(lambda words: {"type": "thinking", "thinking": words, "signature": "s"}, st.text()),
        st.just({"type": "redacted_thinking", "data": "c2Vh"}),
        st.builds(
            lambda arguments: {"type": "tool_use", "id": "t", "name": "weather", "input": arguments},
            st.dictionaries(st.text(), st.integers() | st.text(), max_size=3),
        ),
    ),
    max_size=6,
)


def in_pieces(index: int, whole: dict[str, Any], size: int) -> list[dict[str, Any]]:
    def cut(words: str) -> list[str]:
        return [words[at : at + size] for at in range(0, len(words), size)]

    match whole["type"]:
        case "text":
            return text(index, *cut(whole["text"]))
        case "tool_use":
            return tool(index, "", *cut(msgspec.json.encode(whole["input"]).decode()), call_id=whole["id"])
        case "thinking":
            pieces = [{"type": "thinking_delta", "thinking": piece} for piece in cut(whole["thinking"])]
            signature = {"type": "signature_delta", "signature": whole["signature"]}
            return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *pieces, signature)
    return block(index, whole)


@given(CONTENT, st.integers(1, 5), st.lists(st.integers(0, 4000), max_size=20))
def test_streamed_equals_complete_however_the_bytes_are_cut(
    content: list[dict[str, Any]], size: int, cuts: list[int]
) -> None:
    events = [event for index, whole in enumerate(content) for event in in_pieces(index, whole, size)]
    body = as_stream([start(), *events, *end("tool_use")])
    deltas = list(read_stream(adapter().decoder(chat()), body, [min(cut, len(body)) for cut in cuts]))
    whole = complete(content, stop_reason="tool_use", usage={"input_tokens": 10, "output_tokens": 5})
    together = put_together(deltas)
    assert together.choices() == whole.choices()
    assert together.usage == whole.usage
