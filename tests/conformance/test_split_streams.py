"""However a stream is split, its deltas add up to the vendor's complete answer.

Without sockets: the simulators write both forms of one answer, the adapters decode them, the gateway's encoder writes
its own stream, and the verifier's independent reader accumulates that.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.catalog import bundled
from gateway.envelope import signed_output
from gateway.openai_api.assembler import Assembler
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
from gateway.openai_api.request import parse_chat
from gateway.openai_api.stream import ChatChunkEncoder
from gateway.openai_api.usage import Usage
from gateway.upstreams.adapter import Chat
from gateway.upstreams.registry import adapters
from gateway.upstreams.sse import SSEReader
from tests.conformance.cases.tools import TOOLS
from tests.conformance.folding import folded
from tools.simulators import Fleet, ReceivedRequest, Scenario, ToolCall
from tools.simulators.identifiers import Identifiers
from tools.simulators.vendor import Exchange
from tools.verify.stream import reassemble

MODELS = (
    "gpt-5.2",
    "grok-4.3",
    "seed-1.8",
    "hermes-4-405b",
    "claude-sonnet-4-6",
    "gemini-2.5-flash",
    "gemini-3.5-flash",
)
ADAPTERS = adapters()
VENDORS = {name: simulator.vendor for name, simulator in Fleet().simulators.items()}

reproducible = settings(derandomize=True, deadline=None, max_examples=200)

texts = st.text(max_size=120) | st.sampled_from(
    ["👩‍👩‍👧‍👦" * 9, "a\r\n\r\nb", "data: [DONE]\n\n", '{"error":1}', "\u2028\x85"]
)
arguments = st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=30) | st.none(), max_size=3)
calls = st.lists(st.builds(ToolCall, name=st.sampled_from(["weather", "clock"]), arguments=arguments), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> Scenario:
    """Scripted vendor answers: text, reasoning, tool calls and a finish reason."""
    called = [
        ToolCall(name=call.name, arguments=call.arguments, id=f"call_{number}")
        for number, call in enumerate(draw(calls))
    ]
    return Scenario(
        text=draw(texts),
        reasoning=draw(texts),
        tool_calls=tuple(called),
        finish=None if called else draw(st.sampled_from([None, "length", "content_filter"])),
        prompt_tokens=50,
        completion_tokens=20,
        reasoning_tokens=10,
    )


def bound(model: str, *, stream: bool) -> Chat:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **TOOLS}
    if model != "gpt-5.2":
        body["reasoning_effort"] = "medium"
    return Chat(body=body, request=parse_chat(body), model=bundled().find(model))


def written(chat: Chat, scenario: Scenario) -> bytes:
    """The vendor's answer to ``chat``, streamed or complete as it requests."""
    adapter, vendor = ADAPTERS[chat.model.provider]["chat"], VENDORS[chat.model.provider]
    call = adapter.build_request(chat)
    headers = {"content-type": "application/json", **adapter.auth_headers("key"), **call.headers}
    lower = {name.lower(): value for name, value in headers.items()}
    received = ReceivedRequest("POST", vendor.base_path + call.path, lower, call.body, monotonic())
    endpoint = vendor.endpoint(received)
    assert endpoint is not None
    exchange = Exchange(
        received=received, body=received.json, scenario=scenario, ids=Identifiers(b"fixed"), serve_retired=True
    )
    return b"".join(endpoint.answer(exchange).events)


def whole(model: str, scenario: Scenario) -> Assembler:
    chat = bound(model, stream=False)
    return assembled(ADAPTERS[chat.model.provider]["chat"].decode_response(chat, written(chat, scenario)))


def assembled(deltas: Iterable[Delta]) -> Assembler:
    assembler = Assembler()
    assembler.extend(deltas)
    return assembler


def read(model: str, scenario: Scenario, cuts: Sequence[float]) -> list[Delta]:
    """The deltas of the streamed answer, split at these fractions of its length."""
    chat = bound(model, stream=True)
    body = written(chat, scenario)
    reader, decoder = SSEReader(), ADAPTERS[chat.model.provider]["chat"].decoder(chat)
    edges = [0, *sorted(int(cut * len(body)) for cut in cuts), len(body)]
    deltas: list[Delta] = []
    for start, end in pairwise(edges):
        for event in reader.feed(body[start:end]):
            deltas.extend(decoder.feed(event))
    for event in reader.close():
        deltas.extend(decoder.feed(event))
    return [*deltas, *decoder.finish()]


def encoded(deltas: Sequence[Delta], *, separate_usage: bool) -> bytes:
    """The gateway's own stream of ``deltas``."""
    encoder = ChatChunkEncoder("chatcmpl-1", 1, "model")
    chunks = b"".join(encoder.encode(delta) for delta in deltas)
    return chunks + encoder.last(assembled(deltas).finish_reasons(), {"tee_id": "0x"}, separate_usage=separate_usage)


def outcome(message: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(message.get(key) for key in ("role", "content", "refusal", "tool_calls", "reasoning_content"))


@pytest.mark.parametrize("model", MODELS)
@reproducible
@given(answers(), st.lists(st.floats(0, 1), max_size=12), st.booleans())
def test_a_stream_adds_up_to_the_whole_answer(
    model: str, scenario: Scenario, cuts: list[float], separate_usage: bool
) -> None:
    expected = whole(model, scenario)
    deltas = read(model, scenario, cuts)
    got = assembled(deltas)
    assert got.usage == expected.usage
    assert got.finish_reasons() == expected.finish_reasons()
    stream = encoded(deltas, separate_usage=separate_usage)
    assert signed_output(reassemble(stream)["choices"]) == signed_output(expected.choices())
    [choice], [wanted] = folded(stream)["choices"], expected.choices()
    assert outcome(choice["message"]) == outcome(wanted["message"])
    for call in choice["message"].get("tool_calls", ()):
        assert isinstance(json.loads(call["function"]["arguments"]), dict)


@st.composite
def pieces(draw: st.DrawFn) -> list[Delta]:
    """The deltas of one to three choices, interleaved with each choice's order kept."""
    lines = [draw(one_choice(choice)) for choice in range(draw(st.integers(1, 3)))]
    merged: list[Delta] = [UpstreamMetadata(model="model")]
    while any(lines):
        merged.append(draw(st.sampled_from([line for line in lines if line])).pop(0))
    return [*merged, Usage(prompt_tokens=1, completion_tokens=2)]


@st.composite
def one_choice(draw: st.DrawFn, choice: int) -> list[Delta]:
    said: list[Delta] = draw(
        st.lists(
            st.one_of(
                st.builds(Text, text=texts, choice=st.just(choice)),
                st.builds(Refusal, text=texts.filter(bool), choice=st.just(choice)),
                st.builds(Reasoning, text=texts, choice=st.just(choice)),
                st.builds(
                    Image,
                    url=st.sampled_from(["data:image/png;base64,AA==", "https://a.example/b.png"]),
                    choice=st.just(choice),
                ),
                st.builds(
                    Reasoning,
                    text=texts,
                    choice=st.just(choice),
                    format=st.just("anthropic-claude-v1"),
                    index=st.integers(0, 2),
                    signature=st.none() | st.just("c2ln"),
                ),
                st.builds(
                    MessageField,
                    name=st.just("annotations"),
                    value=st.just([{"type": "url_citation"}]),
                    choice=st.just(choice),
                ),
            ),
            max_size=6,
        )
    )
    count = draw(st.integers(0, 3))
    for index in range(count):
        said.append(ToolCallStart(index=index, id=f"call_{choice}_{index}", name=draw(texts), choice=choice))
        said += [ToolCallArguments(index, fragment, choice) for fragment in draw(st.lists(texts, max_size=3))]
    reason = "tool_calls" if count else draw(st.sampled_from(["stop", "length", "content_filter"]))
    return [*said, Finish(reason, choice)]


@reproducible
@given(pieces(), st.booleans())
def test_chunks_say_what_the_assembler_says(deltas: list[Delta], separate_usage: bool) -> None:
    expected = assembled(deltas).choices()
    stream = encoded(deltas, separate_usage=separate_usage)
    assert signed_output(reassemble(stream)["choices"]) == signed_output(expected)
    for choice, wanted in zip(folded(stream)["choices"], expected, strict=True):
        assert choice["message"] == wanted["message"]
        assert (choice["index"], choice["finish_reason"]) == (wanted["index"], wanted["finish_reason"])
