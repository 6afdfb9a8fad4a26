"""When Claude thinks (facts/providers.md 3.8, 4)."""

from typing import Any

import pytest

from gateway.openai_api.errors import GatewayError
from tests.upstreams.anthropic_chats import HELLO, WEATHER, adapter, chat, dropped, sent

SUMMARIZED = {"type": "adaptive", "display": "summarized"}


def enabled(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "sent_effort"),
    [
        ("claude-haiku-4-5", None, None, None),
        ("claude-haiku-4-5", "none", None, None),
        ("claude-haiku-4-5", "minimal", enabled(1024), None),
        ("claude-haiku-4-5", "low", enabled(1024), None),
        ("claude-haiku-4-5", "medium", enabled(2048), None),
        ("claude-sonnet-4-5", "high", enabled(4096), None),
        ("claude-sonnet-4-5", "xhigh", enabled(8192), None),
        ("claude-sonnet-4-5", "max", enabled(16384), None),
        ("claude-opus-4-5", "minimal", enabled(1024), "low"),
        ("claude-opus-4-5", "medium", enabled(2048), "medium"),
        ("claude-opus-4-5", "max", enabled(16384), "high"),
        ("claude-opus-4-6", "none", None, None),
        ("claude-opus-4-6", "minimal", {"type": "adaptive"}, "low"),
        ("claude-sonnet-4-6", "high", {"type": "adaptive"}, "high"),
        ("claude-sonnet-4-6", "xhigh", {"type": "adaptive"}, "max"),
        ("claude-opus-4-7", "xhigh", SUMMARIZED, "xhigh"),
        ("claude-opus-4-8", "max", SUMMARIZED, "max"),
        ("claude-opus-4-8", None, None, None),
        ("claude-fable-5", None, None, None),
        ("claude-fable-5", "none", None, "low"),
        ("claude-fable-5", "minimal", SUMMARIZED, "low"),
        ("claude-fable-5", "high", SUMMARIZED, "high"),
        ("claude-3-5-haiku", "none", None, None),
    ],
)
def test_reasoning_effort(model: str, effort: str | None, thinking: Any, sent_effort: str | None) -> None:
    body = sent(bound := chat(model, reasoning_effort=effort))
    assert body.get("thinking") == thinking
    assert body.get("output_config") == ({"effort": sent_effort} if sent_effort else None)
    assert dropped(bound) == ()


@pytest.mark.parametrize(
    ("model", "wish", "effort", "listed"),
    [
        ("claude-haiku-4-5", enabled(3000), None, ()),
        ("claude-haiku-4-5", enabled(3000), "high", ("reasoning_effort",)),
        ("claude-haiku-4-5", {"type": "enabled"}, "high", ()),
        ("claude-haiku-4-5", {"type": "disabled"}, "high", ("reasoning_effort",)),
        ("claude-opus-4-5", enabled(3000), "high", ()),
        ("claude-sonnet-4-6", enabled(3000), None, ("thinking.budget_tokens",)),
        ("claude-sonnet-4-6", enabled(3000), "low", ("thinking.budget_tokens",)),
        ("claude-sonnet-4-6", {"type": "disabled"}, "low", ("reasoning_effort",)),
        ("claude-sonnet-4-6", {"type": "adaptive"}, "low", ()),
        ("claude-fable-5", enabled(3000), None, ("thinking.budget_tokens",)),
    ],
)
def test_what_the_callers_own_thinking_leaves_no_place_for_is_listed(
    model: str, wish: dict[str, Any], effort: str | None, listed: tuple[str, ...]
) -> None:
    assert dropped(chat(model, thinking=wish, reasoning_effort=effort)) == listed


@pytest.mark.parametrize(
    ("model", "wish", "thinking"),
    [
        ("claude-haiku-4-5", {"type": "enabled", "budget_tokens": 3000}, enabled(3000)),
        ("claude-haiku-4-5", {"type": "adaptive"}, enabled(2048)),
        ("claude-haiku-4-5", enabled(3000) | {"display": "omitted"}, enabled(3000) | {"display": "omitted"}),
        ("claude-haiku-4-5", enabled(3000) | {"display": None}, enabled(3000)),
        ("claude-opus-4-6", {"type": "enabled", "budget_tokens": 3000}, {"type": "adaptive"}),
        ("claude-opus-4-8", {"type": "adaptive", "display": "omitted"}, {"type": "adaptive", "display": "omitted"}),
        ("claude-opus-4-8", {"type": "disabled"}, None),
    ],
)
def test_anthropics_own_parameter(model: str, wish: dict[str, Any], thinking: Any) -> None:
    assert sent(chat(model, thinking=wish)).get("thinking") == thinking


@pytest.mark.parametrize(
    ("model", "body", "param"),
    [
        ("claude-3-5-haiku", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("claude-3-5-haiku", {"thinking": enabled(2000)}, "thinking"),
        ("claude-fable-5", {"thinking": {"type": "disabled"}}, "thinking.type"),
        ("claude-haiku-4-5", {"thinking": {"type": "auto"}}, "thinking.type"),
        ("claude-haiku-4-5", {"thinking": enabled(100)}, "thinking.budget_tokens"),
        ("claude-haiku-4-5", {"thinking": enabled(2000) | {"display": "full"}}, "thinking.display"),
        ("claude-opus-4-8", {"thinking": {"type": "adaptive", "display": ["omitted"]}}, "thinking.display"),
    ],
)
def test_wishes_that_cannot_be_honoured(model: str, body: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        adapter().build_request(chat(model, **body))
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(("limit", "budget"), [(2000, 1999), (1025, 1024), (1024, None), (10, None)])
def test_the_budget_stays_under_max_tokens(limit: int, budget: int | None) -> None:
    body = sent(bound := chat(reasoning_effort="high", max_tokens=limit))
    assert body.get("thinking") == (enabled(budget) if budget else None)
    assert dropped(bound) == (() if budget else ("reasoning_effort",))


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [WEATHER], "tool_choice": "required"},
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"messages": [HELLO, {"role": "assistant", "content": "Well"}]},
    ],
)
def test_a_budget_does_not_go_with_a_forced_beginning(body: dict[str, Any]) -> None:
    bound = chat("claude-haiku-4-5", reasoning_effort="low", **body)
    assert "thinking" not in sent(bound)
    assert dropped(bound) == ("reasoning_effort",)


def test_adaptive_thinking_goes_with_a_forced_tool() -> None:
    body = sent(chat("claude-sonnet-4-6", reasoning_effort="low", tools=[WEATHER], tool_choice="required"))
    assert (body["thinking"], body["tool_choice"]) == ({"type": "adaptive"}, {"type": "any"})
