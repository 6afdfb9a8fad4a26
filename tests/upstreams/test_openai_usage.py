"""Usage of the OpenAI-shaped vendors in one convention (facts/providers.md 1.4)."""

from typing import Any

import pytest

from gateway.openai_api.usage import Usage
from tests.upstreams.decoding import put_together
from tests.upstreams.openai_chats import chat, streamed
from tests.upstreams.openai_streams import DONE, END, chunk, piece


@pytest.mark.parametrize(
    ("model", "usage", "expected"),
    [
        (
            "gpt-5",
            {
                "prompt_tokens": 12,
                "completion_tokens": 1888,
                "total_tokens": 1900,
                "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1, "cache_write_tokens": 2},
                "completion_tokens_details": {
                    "reasoning_tokens": 1600,
                    "audio_tokens": 3,
                    "accepted_prediction_tokens": 5,
                    "rejected_prediction_tokens": 6,
                },
            },
            Usage(
                prompt_tokens=12,
                completion_tokens=1888,
                cached_tokens=4,
                audio_tokens=1,
                cache_write_tokens=2,
                reasoning_tokens=1600,
                completion_audio_tokens=3,
                accepted_prediction_tokens=5,
                rejected_prediction_tokens=6,
            ),
        ),
        (
            "grok-3-mini",
            {
                "prompt_tokens": 15,
                "completion_tokens": 10,
                "total_tokens": 238,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 213},
            },
            Usage(prompt_tokens=15, completion_tokens=223, cached_tokens=2, reasoning_tokens=213),
        ),
        (
            "grok-4.3",
            {
                "prompt_tokens": 349,
                "completion_tokens": 30,
                "total_tokens": 590,
                "prompt_tokens_details": {"cached_tokens": 128},
                "completion_tokens_details": {"reasoning_tokens": 211},
            },
            Usage(prompt_tokens=349, completion_tokens=241, cached_tokens=128, reasoning_tokens=211),
        ),
        (
            "grok-4.3",
            {
                "prompt_tokens": 10,
                "completion_tokens": 30,
                "total_tokens": 40,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(prompt_tokens=10, completion_tokens=30, reasoning_tokens=20),
        ),
        (
            "grok-4.3",
            {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(prompt_tokens=10, completion_tokens=25, reasoning_tokens=20),
        ),
        (
            "seed-1.6",
            {"prompt_tokens": 10, "completion_tokens": 25, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(prompt_tokens=10, completion_tokens=25, reasoning_tokens=20),
        ),
        (
            "seed-1.6",
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(prompt_tokens=10, completion_tokens=25, reasoning_tokens=20),
        ),
        (
            "hermes-4-70b",
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            Usage(prompt_tokens=10, completion_tokens=5),
        ),
        (
            "gpt-4.1",
            {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": None},
            Usage(prompt_tokens=3, completion_tokens=1),
        ),
        ("gpt-4.1", {"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
    ],
)
def test_usage(model: str, usage: dict[str, Any], expected: Usage) -> None:
    stream = piece(content="x", finish="stop") + chunk([], usage=usage) + DONE
    assert put_together(streamed(chat(model), stream)).usage == expected


@pytest.mark.parametrize(
    ("tier", "billed"),
    [("default", ""), ("auto", ""), ("standard", ""), ("flex", "flex"), ("priority", "priority"), (None, "")],
)
def test_the_tier_of_the_answer_is_billed(tier: str | None, billed: str) -> None:
    stream = piece(content="x", finish="stop") + chunk([], usage={"prompt_tokens": 1}, service_tier=tier) + DONE
    usage = put_together(streamed(chat(), stream)).usage
    assert usage is not None
    assert usage.tier == billed


def test_the_tier_may_be_told_before_the_usage() -> None:
    told = chunk([{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}], service_tier="priority")
    usage = put_together(streamed(chat(), told + chunk([], usage={"prompt_tokens": 1}) + DONE)).usage
    assert usage is not None
    assert usage.tier == "priority"


@pytest.mark.parametrize(
    ("usage", "seen"),
    [
        ({"prompt_tokens": 3}, Usage(prompt_tokens=3, estimated=True)),
        ({"prompt_tokens": 3, "completion_tokens": None, "total_tokens": 9}, Usage(prompt_tokens=3, estimated=True)),
        ({"completion_tokens": 6}, Usage(completion_tokens=6, estimated=True)),
    ],
)
def test_half_a_usage_leaves_the_rest_to_be_estimated(usage: dict[str, Any], seen: Usage) -> None:
    """Uncounted tokens would be free."""
    stream = piece(content="x", finish="stop") + chunk([], usage=usage) + DONE
    assert put_together(streamed(chat(), stream)).usage == seen


def test_missing_usage_is_none() -> None:
    assert put_together(streamed(chat(), piece(content="x") + END)).usage is None


@pytest.mark.parametrize("empty", [{}, {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}])
def test_usage_that_counts_nothing_is_none(empty: dict[str, Any]) -> None:
    """It would make the answer free; missing usage is estimated instead."""
    stream = piece(content="x", finish="stop") + chunk([], usage=empty) + DONE
    assert put_together(streamed(chat(), stream)).usage is None
    told = {"prompt_tokens": 3, "completion_tokens": 1}
    both = piece(content="x", finish="stop") + chunk([], usage=told) + chunk([], usage=empty) + DONE
    assert put_together(streamed(chat(), both)).usage == Usage(prompt_tokens=3, completion_tokens=1)


ODD_COUNTS: list[tuple[Any, Usage | None]] = [
    ({"prompt_tokens": 100.0, "completion_tokens": "50"}, Usage(prompt_tokens=100, completion_tokens=50)),
    ({"prompt_tokens": 3.5, "completion_tokens": 50}, Usage(completion_tokens=50, estimated=True)),
    ({"prompt_tokens": 100, "completion_tokens": True}, Usage(prompt_tokens=100, estimated=True)),
    (
        {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": []},
        Usage(prompt_tokens=100, completion_tokens=50),
    ),
    (
        {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4.0, "audio_tokens": 0.5},
        },
        Usage(prompt_tokens=9, completion_tokens=5, cached_tokens=4),
    ),
    ({"prompt_tokens": "many", "completion_tokens": 50}, None),
    ({"prompt_tokens": {}, "completion_tokens": 50}, None),
    ([], None),
    ("none", None),
]


@pytest.mark.parametrize(("usage", "seen"), ODD_COUNTS)
def test_counts_that_are_no_integers_lose_no_answer(usage: Any, seen: Usage | None) -> None:
    """The vendor has billed it: what can be read counts, the rest is estimated."""
    stream = piece(content="x", finish="stop") + chunk([], usage=usage) + DONE
    answer = put_together(streamed(chat(), stream))
    assert (answer.usage, answer.choices()[0]["message"]["content"]) == (seen, "x")


def test_an_answer_may_have_broken_text_and_broken_counts() -> None:
    choice = {"index": 0, "delta": {"content": "x?"}, "finish_reason": "stop"}
    stream = chunk([choice], usage={"prompt_tokens": "7", "completion_tokens": 1.0}) + DONE
    answer = put_together(streamed(chat(), stream.replace(b"x?", b"x\xff")))
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=1)
    assert answer.choices()[0]["message"]["content"] == "x\ufffd"
