"""Reasoning on and off. Its replay is tested in tests/conformance/test_replayed_reasoning.py."""

from tests.conformance.cases.case import Case, answering

THOUGHT = "They greet me; I greet back."

CASES = (
    Case(
        name="thinking",
        parameters={"reasoning_effort": "medium", "max_completion_tokens": 8000},
        scenario=answering("Hello yourself.", reasoning=THOUGHT, reasoning_tokens=21),
        texts=("Hello yourself.",),
        thoughts=THOUGHT,
        refused={"gpt-4.1": "reasoning_effort"},
    ),
    Case(
        name="no thinking",
        parameters={"reasoning_effort": "none"},
        scenario=answering("Hello yourself.", reasoning=None),
        texts=("Hello yourself.",),
    ),
    Case(
        name="an effort that nobody has",
        parameters={"reasoning_effort": "utmost"},
        scenario=answering("Hello yourself."),
        refused=dict.fromkeys(("openai", "xai", "bytedance", "nous", "anthropic", "google"), "reasoning_effort"),
    ),
)
