"""Finish reasons, stop sequences, length limits and several choices."""

from tests.conformance.cases.case import Case, answering, user

COUNTING = "one two three four five six seven eight"
OPENAI_REFUSAL = "I'm sorry, but I can't help with that."
CLAUDE_REFUSAL = (
    "This request triggered restrictions on violative cyber content and was blocked under Anthropic's Usage Policy."
)

CASES = (
    Case(
        name="stop",
        parameters={"stop": ["four", "nine"]},
        scenario=answering(COUNTING),
        texts=("one two three ",),
        # ModelArk takes no stop while it thinks, which it does unless told otherwise (facts/providers.md 7.2).
        refused={"gpt-5.2": "stop", "grok-4.3": "stop", "bytedance": "stop"},
    ),
    Case(
        name="max tokens",
        parameters={"max_tokens": 4},
        scenario=answering(COUNTING),
        texts=("one two three fo",),
        finish="length",
    ),
    Case(
        name="max tokens spent on thoughts",
        parameters={"max_completion_tokens": 4},
        scenario=answering(COUNTING, reasoning="Let me count slowly.", reasoning_tokens=4, completion_tokens=0),
        finish="length",
        thoughts=None,
    ),
    Case(
        name="refusal",
        scenario=answering(finish="refusal"),
        refusals={
            "openai": OPENAI_REFUSAL,
            "xai": OPENAI_REFUSAL,
            "bytedance": OPENAI_REFUSAL,
            "nous": OPENAI_REFUSAL,
            "anthropic": CLAUDE_REFUSAL,
        },
        finishes={"anthropic": "content_filter", "google": "content_filter"},
    ),
    Case(
        name="a refusal in the history",
        messages=(
            user("How?"),
            {"role": "assistant", "content": None, "refusal": "I will not say."},
            user("Why not?"),
        ),
        scenario=answering("Because."),
        texts=("Because.",),
        arrives=("I will not say.",),
    ),
    Case(
        name="content filter",
        scenario=answering("one two", finish="content_filter"),
        texts=("one two",),
        finish="content_filter",
        refusals={"anthropic": CLAUDE_REFUSAL},
    ),
    Case(
        name="two choices",
        parameters={"n": 2},
        scenario=answering("Heads."),
        texts=("Heads.", "Heads. (2)"),
        refused={"xai": "n", "nous": "n", "anthropic": "n", "gemini-3.5-flash": "n", "google streamed": "n"},
    ),
    Case(
        name="log probabilities",
        parameters={"logprobs": True, "top_logprobs": 1},
        scenario=answering("Heads."),
        texts=("Heads.",),
        refused={"xai": "logprobs", "nous": "logprobs", "anthropic": "logprobs", "google": "logprobs"},
    ),
    Case(
        name="logit bias",
        parameters={"logit_bias": {"50256": -100}},
        scenario=answering("Heads."),
        texts=("Heads.",),
        refused={
            "gpt-5.2": "logit_bias",
            "anthropic": "logit_bias",
            "google": "logit_bias",
        },
        dropped={"xai": "logit_bias", "nous": "logit_bias"},
    ),
)
