"""Hypothesis strategies for the deltas of complete answers, as an adapter may emit them."""

from collections.abc import Sequence

from hypothesis import strategies as st

from gateway.openai_api.deltas import (
    Delta,
    Finish,
    Image,
    MessageField,
    Reasoning,
    Refusal,
    Text,
    ToolCallArguments,
    ToolCallStart,
    UpstreamMetadata,
)
from gateway.openai_api.usage import Usage

words = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["👩‍👩‍👧‍👦", "a\r\n\r\nb", "data: [DONE]\n\n", '{"error":1}', "\u2028\x85"]
)
logprobs = st.none() | st.fixed_dictionaries({"content": st.lists(st.just({"token": "a", "logprob": -0.5}))})


@st.composite
def tool_calls(draw: st.DrawFn, choice: int) -> list[Delta]:
    """Tool calls in sequence, each with its fragments."""
    deltas: list[Delta] = []
    for index in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["function", "custom"]))
        extra = draw(st.none() | st.just({"google": {"thought_signature": "c2ln"}}))
        name = draw(st.sampled_from(["weather", "f"]))
        deltas.append(
            ToolCallStart(
                index=index,
                id=f"call_{index}",
                name=name,
                choice=choice,
                type=kind,
                arguments=draw(words),
                extra_content=extra,
            )
        )
        deltas += [ToolCallArguments(index, part, choice, kind) for part in draw(st.lists(words, max_size=2))]
    return deltas


@st.composite
def choice_deltas(draw: st.DrawFn, choice: int) -> list[Delta]:
    pieces: st.SearchStrategy[Delta] = st.one_of(
        st.builds(Text, words, st.just(choice), logprobs),
        st.builds(Refusal, words.filter(bool), st.just(choice)),
        st.builds(Reasoning, text=words, choice=st.just(choice)),
        st.builds(
            Reasoning,
            text=words,
            choice=st.just(choice),
            format=st.just("f-v1"),
            index=st.integers(0, 1),
            signature=st.none() | st.just("c2ln"),
        ),
        st.builds(Image, st.just("data:image/png;base64,AA=="), st.just(choice)),
        st.builds(MessageField, st.just("annotations"), st.just([{"type": "url_citation"}]), st.just(choice)),
    )
    calls = draw(tool_calls(choice))
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    return [*draw(st.lists(pieces, max_size=8)), *calls, Finish(reason, choice)]


@st.composite
def answers(draw: st.DrawFn, max_choices: int = 3) -> list[Delta]:
    """A complete answer: the interleaved deltas of its choices, upstream metadata and usage."""
    queues = [draw(choice_deltas(choice)) for choice in range(draw(st.integers(1, max_choices)))]
    deltas: list[Delta] = [UpstreamMetadata(model="m")]
    while queues := [queue for queue in queues if queue]:
        deltas.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))
    return [*deltas, Usage(prompt_tokens=3, completion_tokens=5)]


def visible(deltas: Sequence[Delta], choice: int = 0) -> str:
    """The text of one choice, accumulated without the assembler."""
    return "".join(delta.text for delta in deltas if isinstance(delta, Text) and delta.choice == choice)
