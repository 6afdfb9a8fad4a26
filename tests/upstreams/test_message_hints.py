"""Hints in messages and tools that a vendor does not support are listed as dropped."""

from typing import Any

import pytest

from gateway.catalog import bundled
from gateway.openai_api.request import parse_chat
from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat
from gateway.upstreams.registry import adapters

HI = {"role": "user", "content": "Hi"}
NAMED = HI | {"name": "ann"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "4 C", "name": "f"}
NAME, DETAIL = message_hints.NAME, message_hints.DETAIL
CACHE, BREAKPOINT = message_hints.CACHE_CONTROL, message_hints.CACHE_BREAKPOINT
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
MARKED = {"role": "user", "content": [{"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def looking(detail: str | None) -> dict[str, Any]:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": detail}}
    return {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}


def dropped(model: str, *messages: dict[str, Any], **parameters: Any) -> tuple[str, ...]:
    body = {"model": model, "messages": list(messages), **parameters}
    bound = Chat(body, parse_chat(body), bundled().find(model))
    return adapters()[bound.model.provider][bound.model.endpoint].build_request(bound).dropped


@pytest.mark.parametrize(
    ("model", "named", "looked"),
    [
        ("gpt-4.1", (), ()),
        ("grok-4.3", (NAME,), ()),
        ("seed-1.8", (), ()),
        ("claude-haiku-4-5", (NAME,), (DETAIL,)),
        ("gemini-2.5-flash", (NAME,), (DETAIL,)),
        ("seedream-4.0", (NAME,), (DETAIL,)),
    ],
)
def test_hints_in_messages(model: str, named: tuple[str, ...], looked: tuple[str, ...]) -> None:
    assert dropped(model, NAMED, HI) == named
    assert dropped(model, looking("high")) == looked
    assert dropped(model, NAMED, looking("low")) == named + looked


def test_nous_is_told_no_names() -> None:
    assert dropped("hermes-4-70b", NAMED) == (NAME,)


@pytest.mark.parametrize("model", ["grok-4.3", "hermes-4-70b", "claude-haiku-4-5", "gemini-2.5-flash"])
def test_what_says_nothing_is_not_listed(model: str) -> None:
    calling = {"role": "assistant", "content": None, "tool_calls": [CALL], "name": None}
    assert dropped(model, HI | {"name": None}, calling, RESULT) == ()


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gemini-2.5-flash"])
@pytest.mark.parametrize("detail", ["auto", None])
def test_the_usual_detail_is_no_wish(model: str, detail: str | None) -> None:
    assert dropped(model, looking(detail)) == ()


CACHING = [
    ("gpt-4.1", (CACHE,)),
    ("gpt-5.2", (CACHE,)),
    ("grok-4.3", (CACHE,)),
    ("seed-1.8", (CACHE,)),
    ("hermes-4-70b", (CACHE,)),
    ("claude-haiku-4-5", ()),
    ("gemini-2.5-flash", (CACHE,)),
    ("seedream-4.0", (CACHE,)),
]


@pytest.mark.parametrize(("model", "controlled"), CACHING)
def test_hints_about_caching(model: str, controlled: tuple[str, ...]) -> None:
    part = {"type": "text", "text": "Hi"} | EPHEMERAL
    for message in (HI | EPHEMERAL, HI | {"content": [part]}, {"role": "system", "content": [part]}):
        assert dropped(model, message, HI) == controlled
    assert dropped(model, MARKED, HI) == (BREAKPOINT,)
    assert dropped(model, HI | {"cache_control": None}) == ()
    for mark, listed in ((EPHEMERAL, controlled), ({"cache_control": None}, ())):
        calling = {"role": "assistant", "content": None, "tool_calls": [CALL | mark]}
        assert dropped(model, HI, calling, RESULT, HI) == listed


@pytest.mark.parametrize(("model", "controlled"), [(model, bool(listed)) for model, listed in CACHING[:-1]])
def test_cache_control_in_tools(model: str, controlled: bool) -> None:
    inside = {"type": "function", "function": {"name": "f", **EPHEMERAL}}
    for tool in (TOOL | EPHEMERAL, inside):
        assert dropped(model, HI, tools=[tool]) == (("tools.cache_control",) if controlled else ())
    assert dropped(model, HI, tools=[TOOL | {"cache_control": None}]) == ()


def test_the_function_of_a_custom_tool_is_no_function() -> None:
    """Unknown keys, of any type, are ignored."""
    stray = {"type": "custom", "custom": {"name": "f"}, "function": "f"}
    assert dropped("gpt-5.2", HI, tools=[stray]) == ()
    assert dropped("gpt-5.2", HI, tools=[stray | EPHEMERAL]) == ("tools.cache_control",)


@pytest.mark.parametrize("model", ["gpt-4.1", "seed-1.8"])
def test_plain_messages_are_not_searched(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(message_hints, "in_messages")
    assert dropped(model, {"role": "system", "content": "Be short."}, HI) == ()
    with pytest.raises(AttributeError):
        dropped(model, HI | EPHEMERAL)
