"""Converting messages to Gemini's contents: turns, tool calls and their results."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.upstreams.gemini_chats import (
    HELLO,
    PNG,
    PNG_PART,
    SKIP,
    WEATHER,
    adapter,
    calling,
    chat,
    refusal,
    result,
    sent,
    turns,
    user,
)


def call(call_id: str, city: str = "Oslo", name: str = "weather", **extra: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": f'{{"city": "{city}"}}'}
    return {"id": call_id, "type": "function", "function": function, **extra}


def test_the_worked_conversion() -> None:
    """facts/providers.md 12.3."""
    signed = call("c1", extra_content={"google": {"thought_signature": "CpE1"}})
    body = sent(
        chat(
            "gemini-3-flash-preview",
            max_completion_tokens=8000,
            reasoning_effort="medium",
            parallel_tool_calls=True,
            tools=[WEATHER],
            messages=[
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": "Weather in Oslo and Rome?"},
                calling(signed, call("c2", "Rome")),
                result("c1"),
                result("c2", "17 C"),
                {"role": "user", "content": "Celsius please."},
            ],
        )
    )
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be short."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather in Oslo and Rome?"}]},
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"id": "c1", "name": "weather", "args": {"city": "Oslo"}},
                        "thoughtSignature": "CpE1",
                    },
                    {"functionCall": {"id": "c2", "name": "weather", "args": {"city": "Rome"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "c1", "name": "weather", "response": {"output": "4 C"}}},
                    {"functionResponse": {"id": "c2", "name": "weather", "response": {"output": "17 C"}}},
                ],
            },
            {"role": "user", "parts": [{"text": "Celsius please."}]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "weather", "parametersJsonSchema": WEATHER["function"]["parameters"]}  # type: ignore[index]
                ]
            }
        ],
        "generationConfig": {
            "maxOutputTokens": 8000,
            "thinkingConfig": {"thinkingLevel": "medium", "includeThoughts": True},
        },
    }


def test_the_call() -> None:
    for stream, method in ((False, "generateContent"), (True, "streamGenerateContent?alt=sse")):
        sending = adapter().build_request(chat("gemini-3.1-flash-lite-preview", stream=stream))
        assert sending.stream is stream
        assert sending.path == f"/v1beta/models/gemini-3.1-flash-lite-preview:{method}"
    assert adapter().auth_headers("AIza") == {"x-goog-api-key": "AIza"}


def test_system_texts_are_joined_in_order_wherever_they_stand() -> None:
    body = sent(
        chat(
            messages=[
                {"role": "system", "content": "One."},
                HELLO,
                {"role": "developer", "content": [{"type": "text", "text": text} for text in ("Two.", "", "Three.")]},
                {"role": "system", "content": ""},
            ]
        )
    )
    assert body["systemInstruction"] == {"parts": [{"text": "One."}, {"text": "Two."}, {"text": "Three."}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Hello"}]}]


SAID = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant"]),
        "content": st.sampled_from(["A", " b ", " \n", ""]),
    }
)


@given(st.lists(SAID, min_size=1), st.sampled_from(["gemini-2.5-flash", "gemini-3-flash-preview"]))
def test_a_plain_text_is_what_it_is_beside_other_keys(messages: list[dict[str, Any]], model: str) -> None:
    plain = adapter().build_request(chat(model, messages=messages))
    assert plain == adapter().build_request(chat(model, messages=[message | {"name": None} for message in messages]))


def test_contents_are_never_empty() -> None:
    assert turns({"role": "system", "content": "Rules."}) == [{"role": "user", "parts": [{"text": ""}]}]
    assert turns({"role": "user", "content": ""}) == [{"role": "user", "parts": [{"text": ""}]}]


def test_turns_of_one_role_are_merged_and_empty_texts_dropped() -> None:
    assert turns(
        {"role": "user", "content": "a"},
        user({"type": "text", "text": ""}, {"type": "text", "text": "b"}),
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": [{"type": "text", "text": "d"}, {"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "e"},
    ) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "dno"}]},
        {"role": "user", "parts": [{"text": "e"}]},
    ]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("Well,", ["Well,", "no"]),
        ([{"type": "text", "text": "Well,"}], ["Well,", "no"]),
        ([], ["no"]),
        (None, ["no"]),
        ("no", ["no"]),
    ],
)
def test_a_refusal_follows_the_text_before_it(content: Any, parts: list[str]) -> None:
    """The gateway's own answers have both where Claude refuses in the middle."""
    [_, turn, _] = turns(HELLO, {"role": "assistant", "content": content, "refusal": "no"}, HELLO)
    assert turn == {"role": "model", "parts": [{"text": part} for part in parts]}


def test_a_conversation_that_the_model_opens_gets_a_user_turn_before_it() -> None:
    assert turns({"role": "assistant", "content": "Hi."}, HELLO)[:2] == [
        {"role": "user", "parts": [{"text": " "}]},
        {"role": "model", "parts": [{"text": "Hi."}]},
    ]


def test_thoughts_are_not_replayed_as_text() -> None:
    thoughtful = {
        "role": "assistant",
        "content": "4",
        "reasoning_content": "2+2",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "2+2", "signature": "Eq", "format": "anthropic-claude-v1"}
        ],
        "thinking_blocks": [{"type": "thinking", "thinking": "2+2", "signature": "Eq"}],
    }
    assert turns(HELLO, thoughtful, HELLO)[1] == {"role": "model", "parts": [{"text": "4"}]}


def test_results_stand_in_call_order_after_the_text_of_the_turn() -> None:
    contents = turns(
        HELLO,
        calling(call("a"), call("b"), call("c"), content="Looking."),
        result("c", "3"),
        result("a", "1"),
        result("b", "2"),
        model="gemini-2.5-flash",
    )
    assert [next(iter(part)) for part in contents[1]["parts"]] == ["text", *["functionCall"] * 3]
    assert [part["functionResponse"]["response"]["output"] for part in contents[2]["parts"]] == ["1", "2", "3"]


def test_the_same_id_may_serve_in_several_turns() -> None:
    contents = turns(HELLO, calling(call("a")), result("a", "1"), calling(call("a", name="time")), result("a", "2"))
    answers = [turn["parts"][0]["functionResponse"] for turn in contents if "functionResponse" in turn["parts"][0]]
    assert [(answer["name"], answer["response"]["output"]) for answer in answers] == [("weather", "1"), ("time", "2")]


@pytest.mark.parametrize(
    ("content", "extra", "response"),
    [
        ('{"celsius": 4, "big": 12345678901234567890}', {}, {"celsius": 4, "big": 12345678901234567890}),
        ("4 C", {}, {"output": "4 C"}),
        ("", {}, {"output": ""}),
        ("[1, 2]", {}, {"output": "[1, 2]"}),
        ('{"a": [{"$ref": "#/$defs/A"}]}', {}, {"output": '{"a": [{"$ref": "#/$defs/A"}]}'}),
        ([{"type": "text", "text": "4"}, {"type": "text", "text": "17"}], {}, {"output": "4\n17"}),
        ([{"type": "text", "text": '{"celsius":'}, {"type": "text", "text": "4}"}], {}, {"celsius": 4}),
        ("no such city", {"is_error": True}, {"error": "no such city"}),
        ('{"code": 1}', {"is_error": True}, {"error": '{"code": 1}'}),
    ],
)
def test_what_a_tool_said(content: Any, extra: dict[str, Any], response: dict[str, Any]) -> None:
    [part] = turns(HELLO, calling(call("a")), result("a", content, **extra))[2]["parts"]
    assert part == {"functionResponse": {"id": "a", "name": "weather", "response": response}}


def test_pictures_of_tools() -> None:
    picture = result("a", [{"type": "text", "text": "Here."}, {"type": "image_url", "image_url": {"url": PNG}}])
    answer = {"id": "a", "name": "weather", "response": {"output": "Here."}}
    modern = turns(HELLO, calling(call("a")), picture)
    assert modern[2]["parts"] == [{"functionResponse": answer | {"parts": [PNG_PART]}}]
    older = turns(HELLO, calling(call("a"), call("b")), picture, result("b"), HELLO, model="gemini-2.5-flash")
    assert older[2]["parts"][0] == {"functionResponse": answer}
    assert [next(iter(part)) for part in older[2]["parts"]] == ["functionResponse"] * 2
    assert older[3:] == [{"role": "user", "parts": [PNG_PART, {"text": "Hello"}]}]


TYPED = user({"type": "text", "text": "b"})


@pytest.mark.parametrize(
    "said", [[{"role": "user", "content": "a"}, TYPED], [user({"type": "text", "text": "a"}), TYPED]]
)
def test_nothing_else_stands_in_a_turn_of_results(said: list[dict[str, Any]]) -> None:
    contents = turns(HELLO, calling(call("a")), result("a"), {"role": "system", "content": "Be short."}, *said)
    assert [next(iter(part)) for part in contents[2]["parts"]] == ["functionResponse"]
    assert contents[3:] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


@pytest.mark.parametrize(("arguments", "args"), [("", {}), ("  ", {}), ("{}", {}), ('{"a": 1.0}', {"a": 1.0})])
def test_arguments(arguments: str, args: dict[str, Any]) -> None:
    plain = {"id": "a", "type": "function", "function": {"name": "now", "arguments": arguments}}
    assert turns(HELLO, calling(plain), result("a"))[1]["parts"][0]["functionCall"]["args"] == args


@pytest.mark.parametrize("arguments", ["{", "[]", '"text"', "null", '{"a": }'])
def test_arguments_that_are_no_object(arguments: str) -> None:
    broken = {"id": "a", "type": "function", "function": {"name": "now", "arguments": arguments}}
    error = refusal(messages=[HELLO, calling(broken), result("a")])
    assert error.param == "messages[1].tool_calls[0].function.arguments"


def test_a_custom_call_of_another_model_is_a_function_call() -> None:
    custom = {"id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    part = turns(HELLO, calling(custom), result("a"))[1]["parts"][0]
    assert part == {"functionCall": {"id": "a", "name": "shell", "args": {"input": "ls"}}, "thoughtSignature": SKIP}


def test_unicode_arrives_as_it_is() -> None:
    text = "naïve 🦎 \u2028 \x00 e\u0301 中文"
    assert turns({"role": "user", "content": text}) == [{"role": "user", "parts": [{"text": text}]}]
