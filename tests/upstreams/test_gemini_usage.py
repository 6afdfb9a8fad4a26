"""Gemini's token counts: converted, or left to be estimated (facts/providers.md 1.4, 5.4, 5.7, 5.10)."""

from typing import Any

import pytest

from gateway.openai_api.usage import Usage
from tests.upstreams.gemini_chats import CALL, PNG_PART, chat, parts, whole

ONE_EACH = {"promptTokenCount": 1, "candidatesTokenCount": 1}


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (
            {
                "promptTokenCount": 3520,
                "cachedContentTokenCount": 3512,
                "candidatesTokenCount": 2,
                "thoughtsTokenCount": 42,
            },
            Usage(prompt_tokens=3520, cached_tokens=3512, completion_tokens=44, reasoning_tokens=42),
        ),
        (
            {
                "promptTokenCount": 145,
                "candidatesTokenCount": 10,
                "thoughtsTokenCount": 24,
                "cachedContentTokenCount": 50,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 6},
                    {"modality": "AUDIO", "tokenCount": 139},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}, {"modality": "TEXT", "tokenCount": 10}],
            },
            Usage(
                prompt_tokens=145,
                audio_tokens=139,
                cached_tokens=50,
                cached_audio_tokens=40,
                completion_tokens=34,
                reasoning_tokens=24,
            ),
        ),
        (
            {
                "promptTokenCount": 5,
                "candidatesTokenCount": 1518,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
            },
            Usage(prompt_tokens=5, completion_tokens=1518, image_tokens=1120),
        ),
        (
            {
                "promptTokenCount": 10,
                "toolUsePromptTokenCount": 90,
                "candidatesTokenCount": 1,
                "serviceTier": "flex",
            },
            Usage(prompt_tokens=100, tool_prompt_tokens=90, completion_tokens=1, tier="flex"),
        ),
        (ONE_EACH | {"serviceTier": "standard"}, Usage(prompt_tokens=1, completion_tokens=1)),
        (
            ONE_EACH | {"serviceTier": "SERVICE_TIER_PRIORITY"},
            Usage(prompt_tokens=1, completion_tokens=1, tier="priority"),
        ),
        (ONE_EACH | {"promptTokensDetails": [{"modality": "TEXT"}]}, Usage(prompt_tokens=1, completion_tokens=1)),
        (
            {"promptTokenCount": 29, "thoughtsTokenCount": 59, "totalTokenCount": 88},
            Usage(prompt_tokens=29, completion_tokens=59, reasoning_tokens=59),
        ),
        (
            {"promptTokenCount": 2, "toolUsePromptTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 16},
            Usage(prompt_tokens=5, tool_prompt_tokens=3, completion_tokens=11, reasoning_tokens=4),
        ),
        ({"trafficType": "ON_DEMAND"}, None),
    ],
)
def test_usage(counts: dict[str, Any], usage: Usage | None) -> None:
    assert whole(parts({"text": "x"}, finish="STOP", usageMetadata=counts)).usage == usage


@pytest.mark.parametrize(
    ("counts", "seen"),
    [
        ({"promptTokenCount": 7, "thoughtsTokenCount": 30}, Usage(prompt_tokens=7, completion_tokens=30)),
        ({"candidatesTokenCount": 4}, Usage(completion_tokens=4)),
        (
            {"promptTokenCount": 7, "thoughtsTokenCount": 30, "totalTokenCount": 8},
            Usage(prompt_tokens=7, completion_tokens=30),
        ),
        ({"thoughtsTokenCount": 30, "totalTokenCount": 99}, Usage(completion_tokens=30)),
        ({"promptTokenCount": 7, "totalTokenCount": 7}, Usage(prompt_tokens=7)),
    ],
)
def test_output_or_prompt_without_a_count_is_left_to_be_estimated(counts: dict[str, int], seen: Usage) -> None:
    """A zero count is absent, but output of any kind has a count."""
    for part in ({"text": "x"}, CALL, PNG_PART):
        usage = whole(parts(part, finish="STOP", usageMetadata=counts)).usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (seen.prompt_tokens, seen.completion_tokens)
        assert usage.estimated


@pytest.mark.parametrize("details", [{}, {"candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 9}]}])
def test_a_picture_that_is_not_told_from_text_is_left_to_be_estimated(details: dict[str, Any]) -> None:
    """It would be billed as text, at a twelfth of its price or less."""
    counts = {"promptTokenCount": 7, "candidatesTokenCount": 1290, **details}
    bound = chat("gemini-2.5-flash-image")
    drawn = whole(parts({"text": "x"}, PNG_PART, finish="STOP", usageMetadata=counts), bound).usage
    assert drawn == Usage(prompt_tokens=7, completion_tokens=1290, estimated=True)
    told = whole(parts({"text": "I cannot draw that."}, finish="STOP", usageMetadata=counts), bound).usage
    assert told == Usage(prompt_tokens=7, completion_tokens=1290)


def test_an_answer_of_thoughts_alone_counts_no_candidate() -> None:
    """What remains when thinking has used up max_tokens (facts/providers.md 5.4)."""
    counts = {"promptTokenCount": 7, "thoughtsTokenCount": 30}
    usage = whole(parts({"text": "Hm", "thought": True}, finish="MAX_TOKENS", usageMetadata=counts)).usage
    assert usage == Usage(prompt_tokens=7, completion_tokens=30, reasoning_tokens=30)


@pytest.mark.parametrize(
    ("counts", "seen"),
    [
        ({"promptTokenCount": "100", "candidatesTokenCount": 50.0}, Usage(prompt_tokens=100, completion_tokens=50)),
        ({"promptTokenCount": 0.5, "candidatesTokenCount": 50}, Usage(completion_tokens=50, estimated=True)),
        (ONE_EACH | {"promptTokensDetails": []}, Usage(prompt_tokens=1, completion_tokens=1)),
        (ONE_EACH | {"serviceTier": 3}, None),
        (ONE_EACH | {"candidatesTokenCount": "few"}, None),
        ("none", None),
    ],
)
def test_counts_that_are_no_integers_lose_no_answer(counts: Any, seen: Usage | None) -> None:
    """Google has billed it: what can be read counts, the rest is estimated."""
    answer = whole(parts({"text": "x"}, finish="STOP", usageMetadata=counts))
    assert (answer.usage, answer.choices()[0]["message"]["content"]) == (seen, "x")
