"""OpenRouter's ``reasoning`` is ``reasoning_effort``."""

from typing import Any

import pytest

from gateway.openai_api.errors import GatewayError, unsupported_parameter
from gateway.openai_api.reasoning import reasoning_to_effort, with_reasoning_param
from gateway.openai_api.request import parse_chat

BODY: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        ({"effort": "high"}, "high"),
        ({"effort": "medium", "enabled": True}, "medium"),
        ({"effort": "medium", "enabled": False}, "none"),
        ({"effort": None, "enabled": True}, "medium"),
        ({"enabled": False, "exclude": False, "max_tokens": None}, "none"),
        ({"effort": "low", "enabled": None}, "low"),
        ({}, None),
    ],
)
def test_effort(reasoning: dict[str, Any], effort: str | None) -> None:
    sent = BODY | {"reasoning": reasoning}
    translated = reasoning_to_effort(sent)
    assert translated == BODY | {"reasoning_effort": effort}
    assert sent["reasoning"] is reasoning
    own = BODY | {"reasoning_effort": "minimal"}
    assert reasoning_to_effort(own | {"reasoning": reasoning}) == own


@pytest.mark.parametrize("changes", [{}, {"reasoning": None}, {"reasoning_effort": "low"}])
def test_bodies_without_it_stay_as_they_are(changes: dict[str, Any]) -> None:
    sent = BODY | changes
    assert reasoning_to_effort(sent) is sent
    assert parse_chat(sent).reasoning_effort == changes.get("reasoning_effort")


@pytest.mark.parametrize("other", [{"max_tokens": 2000}, {"exclude": True}, {"summary": "auto"}])
def test_what_has_no_counterpart_is_refused(other: dict[str, Any]) -> None:
    [name] = other
    with pytest.raises(GatewayError) as caught:
        reasoning_to_effort(BODY | {"reasoning": {"effort": "low"} | other})
    assert (caught.value.status, caught.value.param) == (400, f"reasoning.{name}")


def test_errors_name_what_was_sent() -> None:
    sent = BODY | {"reasoning": {"effort": "low"}}
    error = with_reasoning_param(unsupported_parameter("reasoning_effort", "gpt-4.1"), sent)
    assert error.param == "reasoning.effort"
    assert error.message == "Unsupported parameter: 'reasoning.effort' is not supported with model 'gpt-4.1'."
    for body in (sent | {"reasoning_effort": "low"}, BODY):
        own = with_reasoning_param(unsupported_parameter("reasoning_effort", "gpt-4.1"), body)
        assert own.param == "reasoning_effort"
