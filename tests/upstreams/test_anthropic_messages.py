"""Converting messages to Anthropic's turns: order, alternation, kinds of content (facts/providers.md 3.4)."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.upstreams.anthropic_chats import HELLO, adapter, calls, chat, refusal, result, sent, text, turns, user

SAID = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant"]),
        "content": st.sampled_from(["A", " b ", " \n", ""]),
    }
)


@given(st.lists(SAID), st.sampled_from(["claude-opus-4-8", "claude-haiku-4-5"]))
def test_a_plain_text_is_what_it_is_beside_other_keys(messages: list[dict[str, Any]], model: str) -> None:
    end = user("Go on")
    plain = adapter().build_request(chat(model, messages=[*messages, end]))
    assert plain == adapter().build_request(
        chat(model, messages=[message | {"name": None} for message in (*messages, end)])
    )


def test_the_leading_system_and_developer_messages_are_the_system_prompt() -> None:
    mark = {"type": "ephemeral"}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "A", "cache_control": mark}, text(" ")]},
        {"role": "developer", "content": "B", "cache_control": mark},
        HELLO,
    ]
    body = sent(chat(messages=messages))
    assert body["system"] == [text("A") | {"cache_control": mark}, text("B") | {"cache_control": mark}]
    assert body["messages"] == [user([text("Hello")])]


@pytest.mark.parametrize("blank", ["", " \n"])
def test_the_cache_breakpoint_of_a_blank_part_is_on_the_block_before_it(blank: str) -> None:
    mark, long = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    end = text(blank) | {"cache_control": mark}
    assert turns(user([text("A"), text("B"), end])) == [user([text("A"), text("B") | {"cache_control": mark}])]
    assert turns(user([text("A") | {"cache_control": long}, end])) == [user([text("A") | {"cache_control": long}])]
    assert turns(user([end, text("A")])) == [user([text("A")])]


def test_a_later_system_message_stays_in_its_place() -> None:
    later = {"role": "system", "content": "Now in French."}
    assert turns(HELLO, later, user("Go on")) == [
        user([text("Hello"), text("<system>Now in French.</system>"), text("Go on")])
    ]


LATER = {"role": "system", "content": "Now in French."}
SYSTEM_TURN = {"role": "system", "content": [text("Now in French.")]}
TAGGED = text("<system>Now in French.</system>")
ANSWER = {"role": "assistant", "content": "Hello!"}
ANSWERED = {"role": "assistant", "content": [text("Hello!")]}
GO_ON: dict[str, Any] = {"role": "user", "content": [text("Go on")]}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([HELLO, LATER], [user([text("Hello")]), SYSTEM_TURN]),
        ([HELLO, LATER, ANSWER, GO_ON], [user([text("Hello")]), SYSTEM_TURN, ANSWERED, GO_ON]),
        ([HELLO, LATER, LATER], [user([text("Hello")]), SYSTEM_TURN | {"content": [text("Now in French.")] * 2}]),
        ([HELLO, LATER, GO_ON], [user([text("Hello"), TAGGED, text("Go on")])]),
        ([HELLO, LATER, user("Go on")], [user([text("Hello"), TAGGED, text("Go on")])]),
        ([HELLO, ANSWER, LATER], [user([text("Hello")]), ANSWERED, user([TAGGED])]),
        ([HELLO, ANSWER, LATER, GO_ON], [user([text("Hello")]), ANSWERED, user([TAGGED, text("Go on")])]),
        (
            [HELLO, LATER, {"role": "assistant", "content": ""}, GO_ON],
            [user([text("Hello"), TAGGED, text("Go on")])],
        ),
    ],
)
def test_a_system_turn_follows_a_users_turn_and_precedes_an_answer(
    messages: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> None:
    assert turns(*messages, model="claude-opus-4-8") == expected


def test_turns_of_one_role_are_merged_and_blank_ones_vanish() -> None:
    blank = {"role": "assistant", "content": " \n"}
    assert turns(user("A"), blank, user([text("B"), text("")]), {"role": "assistant", "content": "C "}) == [
        user([text("A"), text("B")]),
        {"role": "assistant", "content": [text("C")]},
    ]


def test_results_come_first_in_the_single_next_user_turn() -> None:
    got = turns(HELLO, calls("a", "b", content="Looking"), result("b"), result("a"), user("Thanks"))
    assert [turn["role"] for turn in got] == ["user", "assistant", "user"]
    assert [block["type"] for block in got[1]["content"]] == ["text", "tool_use", "tool_use"]
    assert [block.get("tool_use_id", block.get("text")) for block in got[2]["content"]] == ["b", "a", "Thanks"]


def test_a_result_keeps_text_and_pictures() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    got = turns(HELLO, calls("a"), result("a", [text("x"), text(""), picture], is_error=False, cache_control=mark))
    assert got[2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "a",
            "content": [text("x"), {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}],
            "is_error": False,
            "cache_control": mark,
        }
    ]
    assert "content" not in turns(HELLO, calls("a"), result("a", ""))[2]["content"][0]


def test_history_with_tools_declares_them_though_the_caller_does_not() -> None:
    body = sent(chat(messages=[HELLO, calls("a"), result("a")]))
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


def test_ids_and_names_of_other_vendors_are_mapped_alike() -> None:
    foreign = calls("functions.f:0", "functions_f_0")
    foreign["tool_calls"][0]["function"]["name"] = "ns.f"
    got = turns(HELLO, foreign, result("functions_f_0", "2"), result("functions.f:0", "1"))
    uses = {block["id"]: block["name"] for block in got[1]["content"]}
    assert uses == {"functions_f_0": "ns_f", "functions_f_0_2": "f"}
    answers = {block["tool_use_id"]: block["content"] for block in got[2]["content"]}
    assert answers == {"functions_f_0": "1", "functions_f_0_2": "2"}


def test_an_id_that_serves_in_several_turns_is_another_one_in_each() -> None:
    got = turns(
        HELLO,
        calls("call_0"),
        result("call_0", "1"),
        calls("call_0", "call_0_2"),
        result("call_0", "2"),
        result("call_0_2", "3"),
    )
    assert [block["id"] for turn in (got[1], got[3]) for block in turn["content"]] == [
        "call_0",
        "call_0_2",
        "call_0_2_2",
    ]
    answers = [(block["tool_use_id"], block["content"]) for turn in (got[2], got[4]) for block in turn["content"]]
    assert answers == [("call_0", "1"), ("call_0_2", "2"), ("call_0_2_2", "3")]


@pytest.mark.parametrize("content", ["", " \n", [], [text(" ")]])
def test_a_failure_without_words_gets_some(content: Any) -> None:
    """Anthropic answers 400 "content cannot be empty if `is_error` is true", and accepts no blank text anywhere."""
    block = turns(HELLO, calls("a"), result("a", content, is_error=True))[2]["content"][0]
    assert (block["content"], block["is_error"]) == ("The tool failed.", True)
    assert "content" not in turns(HELLO, calls("a"), result("a", content, is_error=False))[2]["content"][0]


def test_a_failure_with_a_picture_is_told_in_words() -> None:
    """Anthropic answers 400 'all content must be type "text" if "is_error" is true'."""
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    block = turns(HELLO, calls("a"), result("a", [picture, text("x")], is_error=True))[2]["content"][0]
    assert "is_error" not in block
    assert block["content"] == [
        text("The tool failed."),
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        text("x"),
    ]
    block = turns(HELLO, calls("a"), result("a", [text("x")], is_error=True))[2]["content"][0]
    assert (block["content"], block["is_error"]) == ([text("x")], True)


def test_a_custom_call_of_another_vendor_becomes_an_object() -> None:
    custom = {
        "role": "assistant",
        "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}],
    }
    assert turns(HELLO, custom, result("a"))[1]["content"][0]["input"] == {"input": "ls"}


@pytest.mark.parametrize(("arguments", "expected"), [("", {}), (" ", {}), ('{"a": 1}', {"a": 1})])
def test_arguments_become_an_object(arguments: str, expected: dict[str, Any]) -> None:
    assert turns(HELLO, calls("a", arguments=arguments), result("a"))[1]["content"][0]["input"] == expected


@pytest.mark.parametrize("arguments", ["[1]", '{"a":', "null", "[" * 100_000])
def test_broken_arguments_are_refused(arguments: str) -> None:
    error = refusal(HELLO, calls("a", arguments=arguments), result("a"))
    assert error.param == "messages[1].tool_calls[0].function.arguments"


@pytest.mark.parametrize("message", [{"role": "system", "content": "S"}, user(" ")])
def test_a_conversation_without_content_is_refused(message: dict[str, Any]) -> None:
    assert refusal(message).param == "messages"


@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        ("claude-haiku-4-5", True),
        ("claude-sonnet-4-5", True),
        ("claude-opus-4-5", True),
        ("claude-3-7-sonnet", True),
        ("claude-sonnet-4-6", False),
        ("claude-opus-4-6", False),
        ("claude-opus-4-8", False),
        ("claude-fable-5", False),
    ],
)
def test_prefill(model: str, allowed: bool) -> None:
    prefill = {"role": "assistant", "content": "Once upon \n"}
    if allowed:
        assert turns(HELLO, prefill, model=model)[-1] == {"role": "assistant", "content": [text("Once upon")]}
    else:
        assert refusal(HELLO, prefill, model=model).param == "messages[1].role"


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-sonnet-4-6"])
@pytest.mark.parametrize("said", ["", " \n", [], [{"type": "text", "text": ""}]])
def test_a_last_message_without_content_makes_no_prefill_of_the_answer_before_it(model: str, said: Any) -> None:
    answer = {"role": "assistant", "content": "Hello!"}
    assert refusal(HELLO, answer, user(said), model=model).param == "messages[2].content"
    blank = {"role": "system", "content": ""}
    assert refusal(HELLO, answer, user(said), blank, model=model).param == "messages[2].content"
    assert turns(HELLO, user(said), model=model) == [{"role": "user", "content": [text("Hello")]}]


def test_refusals_and_other_vendors_thoughts() -> None:
    refused = {
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "No."}],
        "reasoning_content": "hm",
        "images": ["data:image/png;base64,aGk="],
    }
    also = {"role": "assistant", "content": None, "refusal": "Still no."}
    assert turns(HELLO, refused, also, user("Why?"))[1]["content"] == [text("No."), text("Still no.")]


def test_a_messages_own_cache_breakpoint_is_on_its_last_block() -> None:
    mark = {"type": "ephemeral"}
    got = turns(
        user([text("A"), text("B")]) | {"cache_control": mark}, calls("a") | {"cache_control": mark}, result("a")
    )
    assert got[0]["content"] == [text("A"), text("B") | {"cache_control": mark}]
    assert got[1]["content"][-1]["cache_control"] == mark


def test_a_calls_own_cache_breakpoint_is_on_its_block() -> None:
    """Where Vercel's AI SDK, and OpenCode with it, has that of an answer without text."""
    mark = {"type": "ephemeral"}
    answer = calls("a", "b")
    answer["tool_calls"][0]["cache_control"] = mark
    answer["tool_calls"].append(
        {"id": "c", "type": "custom", "custom": {"name": "g", "input": ""}, "cache_control": mark}
    )
    uses = turns(HELLO, answer, result("a"), result("b"), result("c"))[1]["content"]
    assert [use.get("cache_control") for use in uses] == [mark, None, mark]


WORDS = st.sampled_from(["", " ", "yes", "no\n", "Blåbær 🫐"])
ROUND = st.integers(1, 3)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """System, user and assistant messages in any order; calls answered in any order."""
    messages: list[dict[str, Any]] = [HELLO] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["system", "user", "assistant", "round"]))
        if kind != "round":
            messages.append({"role": kind, "content": draw(WORDS)})
            continue
        ids = [f"call.{number}:{index}" for index in range(draw(ROUND))]
        messages.append(calls(*ids, content=draw(WORDS)))
        messages += draw(st.permutations([result(call_id, draw(WORDS)) for call_id in ids]))
    return [*messages, user("Now?")]


@given(conversations(), st.sampled_from(["claude-haiku-4-5", "claude-opus-4-8"]))
def test_the_order_that_anthropic_demands(messages: list[dict[str, Any]], model: str) -> None:
    got = turns(*messages, model=model)
    roles = [turn["role"] for turn in got]
    assert all(role != following for role, following in pairwise(roles))
    assert roles[0] != "system"
    assert ("assistant", "system") not in pairwise(roles)
    assert ("system", "user") not in pairwise(roles)
    for index, turn in enumerate(got):
        kinds = [block["type"] for block in turn["content"]]
        assert all(block["text"].strip() for block in turn["content"] if block["type"] == "text")
        uses = {block["id"] for block in turn["content"] if block["type"] == "tool_use"}
        following = got[index + 1]["content"] if index + 1 < len(got) else []
        answers = [block["tool_use_id"] for block in following if block["type"] == "tool_result"]
        assert uses == set(answers)
        assert len(answers) == len(uses)
        results = kinds.count("tool_result")
        assert kinds[:results] == ["tool_result"] * results
    spoken = [
        message["content"] for message in messages if message["role"] in ("user", "assistant") and message["content"]
    ]
    said = "".join(block["text"] for turn in got for block in turn["content"] if block["type"] == "text")
    assert all(words.strip() in said for words in spoken)
