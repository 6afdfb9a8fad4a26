"""Tool calls of the OpenAI-shaped vendors: whatever their indexes and ids, ours are unique."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.deltas import ToolCallArguments, ToolCallStart
from tests.upstreams.decoding import put_together
from tests.upstreams.openai_chats import chat, streamed
from tests.upstreams.openai_streams import DONE, message, more, piece, start, whole


def calls(*fragments: dict[str, Any], finish: bool = True) -> list[dict[str, Any]]:
    """The calls assembled from fragments, one chunk each."""
    stream = b"".join(piece(tool_calls=[fragment]) for fragment in fragments) + piece(finish="tool_calls") + DONE
    found: list[dict[str, Any]] = message(stream)["tool_calls"]
    return found


@pytest.mark.parametrize(
    "fragments",
    [
        [start(0, "a"), more(0, "[1"), more(0, "]"), start(1, "b", "[2]")],
        [start(0, "a"), start(1, "b"), more(0, "[1]"), more(1, "[2]")],
        [start(3, "a"), more(3, "[1]"), start(7, "b"), more(7, "[2]")],
        [start(0, "a", "[1]"), start(0, "b", "[2]")],
        [start(0, "a"), more(0, "[1]"), start(0, "b"), more(0, "[2]")],
        [start(None, "a", "[1]"), start(None, "b", "[2]")],
        [start(None, "a"), more(None, "[1]"), start(None, "b"), more(None, "["), more(None, "2]")],
        [start(0, "a", "[1"), start(0, "a", "]"), start(1, "b", "[2]")],
        [
            start(5, "a"),
            more(None, "["),
            more(None, "1"),
            more(5, "]"),
            start(2, "b"),
            more(None, "[2"),
            more(None, "]"),
        ],
    ],
)
def test_indexes_are_ours_and_never_shared(fragments: list[dict[str, Any]]) -> None:
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls(*fragments)] == [
        ("call_a", "a", "[1]"),
        ("call_b", "b", "[2]"),
    ]


def test_calls_in_one_chunk() -> None:
    stream = piece(tool_calls=[start(0, "a", "[1]"), start(1, "b", "[2]")]) + piece(finish="tool_calls") + DONE
    assert [call["function"]["arguments"] for call in message(stream)["tool_calls"]] == ["[1]", "[2]"]


def test_a_whole_call_is_one_delta() -> None:
    """As xAI sends it (facts/providers.md 6.4), and as Vercel's xAI provider requires every delta of a call."""
    stream = piece(tool_calls=[start(0, "a", "[1]"), start(1, "b", "[")]) + piece(tool_calls=[more(1, "2]")])
    found = streamed(chat(), stream + piece(finish="tool_calls") + DONE)
    deltas = [delta for delta in found if isinstance(delta, ToolCallStart | ToolCallArguments)]
    assert deltas == [
        ToolCallStart(index=0, id="call_a", name="a", arguments="[1]"),
        ToolCallStart(index=1, id="call_b", name="b", arguments="["),
        ToolCallArguments(1, "2]"),
    ]


def test_a_call_without_an_id_gets_one() -> None:
    [call] = calls({"index": 0, "function": {"name": "f", "arguments": "{}"}})
    assert call["id"].startswith("call_")
    assert len(call["id"]) > 20


def test_an_id_given_twice_is_used_once() -> None:
    """Clients answer calls by id, and the gateway rejects two calls with the same id (facts/providers.md 6.3)."""
    first, second, third = calls(start(0, "a", "[1]"), start(1, "b", "[2", "call_a"), more(1, "]"), start(2, "c"))
    assert (first["id"], third["id"]) == ("call_a", "call_c")
    assert second["id"].startswith("call_")
    assert len({first["id"], second["id"], third["id"]}) == 3
    assert second["function"] == {"name": "b", "arguments": "[2]"}


@pytest.mark.parametrize("given", [{"id": "a"}, {"id": ""}, {"index": 0, "id": "a"}, {}])
def test_every_call_of_a_complete_answer_is_one_of_its_own(given: dict[str, Any]) -> None:
    called = [given | {"type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]
    answer = {"choices": [{"index": 0, "message": {"tool_calls": called}, "finish_reason": "tool_calls"}]}
    [choice] = put_together(whole(answer)).choices()
    first, second = choice["message"]["tool_calls"]
    assert first["function"] == {"name": "f", "arguments": "{}"}
    assert second["function"] == {"name": "g", "arguments": "{}"}
    assert first["id"] != second["id"]


def test_a_name_that_comes_late() -> None:
    head = {"index": 0, "id": "a", "type": "function"}
    wanted = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "[1]"}}
    assert calls(head, {"index": 0, "function": {"name": "f"}}, more(0, "[1"), more(0, "]")) == [wanted]
    assert calls(head, more(0, "[1"), {"index": 0, "id": "a", "function": {"name": "f", "arguments": "]"}}) == [wanted]
    assert [call["function"]["name"] for call in calls(head, start(1, "g"), more(1, "{}"))] == ["", "g"]


@pytest.mark.parametrize("empty", ["", None])
def test_arguments_are_always_json(empty: str | None) -> None:
    [call] = calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": empty}})
    assert call["function"] == {"name": "f", "arguments": "{}"}


def test_custom_calls_keep_their_input() -> None:
    first = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "shell", "input": "l"}}
    empty = {"index": 1, "id": "b", "type": "custom", "custom": {"name": "shell"}}
    assert calls(first, {"index": 0, "custom": {"input": "s"}}, empty) == [
        {"id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
        {"id": "b", "type": "custom", "custom": {"name": "shell", "input": ""}},
    ]


@given(
    st.lists(st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 5),
)
def test_start_before_arguments_and_one_index_each(arguments: list[list[str]], indexed: bool, first: int) -> None:
    fragments: list[dict[str, Any]] = []
    for number, parts in enumerate(arguments):
        index = first + 2 * number if indexed else None
        fragments += [start(index, f"f{number}"), *(more(index, part) for part in parts)]
    stream = b"".join(piece(tool_calls=[fragment]) for fragment in fragments) + piece(finish="tool_calls") + DONE
    started: list[int] = []
    told: dict[int, str] = {}
    for delta in streamed(chat(), stream):
        if isinstance(delta, ToolCallStart):
            started.append(delta.index)
        elif isinstance(delta, ToolCallArguments):
            assert delta.index in started
            told[delta.index] = told.get(delta.index, "") + delta.arguments
    assert started == list(range(len(arguments)))
    assert told == {number: "".join(parts) or "{}" for number, parts in enumerate(arguments)}


@pytest.mark.parametrize("finish", ["function_call", "stop"])
def test_a_function_call_of_the_old_form_is_a_tool_call(finish: str) -> None:
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    stream = (
        piece(role="assistant", content=None, function_call={"name": "weather", "arguments": ""})
        + piece(function_call={"arguments": '{"city": '})
        + piece(function_call={"arguments": '"Oslo"}'})
        + piece(finish=finish)
        + DONE
    )
    answer = {"choices": [{"message": {"content": None, "function_call": function}, "finish_reason": finish}]}
    for found in (message(stream), put_together(whole(answer)).choices()[0]["message"]):
        [call] = found["tool_calls"]
        assert (call["type"], call["function"], found["content"]) == ("function", function, None)
        assert call["id"].startswith("call_")


def test_a_function_call_of_the_old_form_is_no_call_of_its_own_where_it_is_empty_or_repeats_a_tool_call() -> None:
    empty = {"name": "", "arguments": ""}
    assert "tool_calls" not in message(piece(content="x", function_call=empty) + piece(finish="stop") + DONE)
    function = {"name": "f", "arguments": "[1]"}
    both: dict[str, Any] = {
        "tool_calls": [{"index": 0, "id": "a", "type": "function", "function": function}],
        "function_call": function,
    }
    expected = [{"id": "a", "type": "function", "function": function}]
    assert message(piece(**both) + piece(finish="tool_calls") + DONE)["tool_calls"] == expected
    answer = {"choices": [{"message": both, "finish_reason": "tool_calls"}]}
    assert put_together(whole(answer)).choices()[0]["message"]["tool_calls"] == expected
