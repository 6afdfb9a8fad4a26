"""Parsing scenarios from JSON."""

import pytest

from tools.simulators import RawReply, Scenario, ScenarioError, ToolCall, directive
from tools.simulators.scenario import from_directive, from_json


def test_every_field_survives_the_directive() -> None:
    fields = {
        "text": "é",
        "tool_calls": [{"name": "now", "arguments": {"a": 1}}],
        "error": "rate_limit",
        "error_after": 2,
        "raw": {"status": 201, "headers": {"a": "b"}, "chunks": ["aGk="]},
    }
    assert from_directive(directive(fields)) == Scenario(
        text="é",
        tool_calls=(ToolCall(name="now", arguments={"a": 1}),),
        error="rate_limit",
        error_after=2,
        raw=RawReply(status=201, headers=(("a", "b"),), chunks=(b"hi",)),
    )


def test_other_prompts_ask_for_nothing() -> None:
    assert from_directive("Tell me about @sim {}") is None
    assert from_directive("@sim {}") == Scenario()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"texd": 1}, "unknown scenario field 'texd'"),
        ({"text": 1}, r"Expected `str \| null`"),
        ({"error": "nope"}, "nope"),
        ({"error_after": 1}, "need an error"),
        ({"chunk_bytes": 0}, "at least 1"),
        ({"stall_seconds": 1.0}, "needs stall_after"),
        ({"raw": {"chunks": ["*"]}}, "base64"),
        ([], "JSON object"),
    ],
)
def test_nonsense_is_refused_with_its_reason(value: object, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        from_json(value)


def test_an_unfinished_directive_is_refused() -> None:
    with pytest.raises(ScenarioError, match="not followed by a JSON object"):
        from_directive("@sim {")
