"""The legacy completion request, and the chats that serve it (facts/providers.md 1.7)."""

from typing import Any

import pytest

from gateway.openai_api.completion import CompletionRequest, chat_bodies, parse_completion
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import parse_chat

BODY: dict[str, Any] = {"model": "gpt-4.1", "prompt": "Once"}


def bodies(**parameters: Any) -> list[dict[str, Any]]:
    body = {**BODY, **parameters}
    return chat_bodies(body, parse_completion(body))


def test_an_echo_is_no_longer_than_a_request() -> None:
    """32 prompts of half a megabyte, before 128 choices each, were an answer of two gigabytes."""
    long: dict[str, Any] = {"prompt": ["x" * 2**15] * 2, "n": 128, "echo": True}
    for repeated in (long | {"n": 64}, long | {"echo": False}):
        assert len(bodies(**repeated)) == 2
    with pytest.raises(GatewayError) as caught:
        bodies(**long)
    assert (caught.value.status, caught.value.param) == (400, "echo")


@pytest.mark.parametrize("long", [{"user": "x" * 70_000}, {"stop": "x" * 70_000}, {"logit_bias": {"7" * 70_000: 1}}])
def test_what_every_prompt_repeats_is_short(long: dict[str, Any]) -> None:
    """32 prompts with a ``user`` of 31 MB took a gigabyte."""
    with pytest.raises(GatewayError) as caught:
        bodies(prompt=["a"] * 2, **long)
    assert (caught.value.status, caught.value.param) == (400, "prompt")
    assert len(bodies(prompt="a", **long)) == len(bodies(prompt=["a"], **long)) == 1
    assert len(bodies(prompt=["a" * 70_000] * 2, user="x" * 60_000)) == 2


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"prompt": None}, "prompt", "invalid_type"),
        ({"prompt": 7}, "prompt", "invalid_type"),
        ({"prompt": {}}, "prompt", "invalid_type"),
        ({"prompt": []}, "prompt", "empty_array"),
        ({"prompt": ["x"] * 33}, "prompt", "array_above_max_length"),
        ({"prompt": [1, 2]}, "prompt", "unsupported_value"),
        ({"prompt": [[1, 2]]}, "prompt", "unsupported_value"),
        ({"prompt": ["x", None]}, "prompt[1]", "invalid_type"),
        ({"suffix": "end"}, "suffix", "unsupported_parameter"),
        ({"logprobs": 0}, "logprobs", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "invalid_type"),
        ({"best_of": 2}, "best_of", "unsupported_parameter"),
        ({"best_of": 3, "n": 2}, "best_of", "unsupported_parameter"),
        ({"stream_options": {}}, "stream_options", None),
        ({"stream_options": {}, "stream": False}, "stream_options", None),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"top_p": -1}, "top_p", "decimal_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"frequency_penalty": 3}, "frequency_penalty", "decimal_above_max_value"),
        ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value"),
        ({"stop": [1]}, "stop[0]", "invalid_type"),
        ({"echo": "yes"}, "echo", "invalid_type"),
        ({"model": ""}, "model", "invalid_value"),
        ({"messages": []}, "messages", "unknown_parameter"),
        ({"tools": []}, "tools", "unknown_parameter"),
    ],
)
def test_refusals(changes: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_completion({**BODY, **changes})
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize("name", ["model", "prompt"])
def test_required(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_completion({key: value for key, value in BODY.items() if key != name})
    assert (caught.value.param, caught.value.code) == (name, "missing_required_parameter")


@pytest.mark.parametrize(
    "changes",
    [
        {"suffix": ""},
        {"best_of": 2, "n": 2},
        {"best_of": 1},
        {"prompt": ["x"] * 32},
        {"logprobs": None},
        {"echo": True},
    ],
)
def test_what_is_in_order(changes: dict[str, Any]) -> None:
    assert isinstance(parse_completion({**BODY, **changes}), CompletionRequest)


def test_a_prompt_becomes_a_user_message() -> None:
    assert bodies() == [{"model": "gpt-4.1", "max_tokens": 16, "messages": [{"role": "user", "content": "Once"}]}]


def test_a_list_becomes_one_chat_each() -> None:
    chats = bodies(prompt=["a", "b"], max_tokens=7)
    assert [chat["messages"][0]["content"] for chat in chats] == ["a", "b"]
    assert [chat["max_tokens"] for chat in chats] == [7, 7]


def test_what_travels_on() -> None:
    shared = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 2,
        "stop": ["x"],
        "seed": 7,
        "frequency_penalty": 1,
        "presence_penalty": -1,
        "logit_bias": {"5": 1},
        "user": "u",
        "web_search": False,
        "repetition_penalty": 1.0,
    }
    [chat] = bodies(**shared, echo=True, best_of=1, suffix=None)
    assert {name: chat[name] for name in shared} == shared
    assert chat.keys() == {*shared, "model", "max_tokens", "messages"}
    parse_chat(chat)


def test_null_is_absence() -> None:
    assert bodies(temperature=None, max_tokens=None, stop=None) == bodies()
