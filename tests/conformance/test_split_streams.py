"""However a stream is split, its deltas add up to the vendor's complete answer.

Without sockets: the simulators write both forms of one answer, the adapters decode them, the gateway's encoder writes
its own stream, and the verifier's independent reader accumulates that.
"""

import json
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.catalog import bundled
from gateway.envelope import signed_output
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta
from gateway.openai_api.request import parse_chat
from gateway.openai_api.stream import ChatChunkEncoder
from gateway.upstreams.adapter import Chat
from gateway.upstreams.registry import adapters
from tests.conformance.cases.tools import TOOLS
from tests.conformance.folding import folded
from tests.upstreams.decoding import put_together, read_stream
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
    return put_together(ADAPTERS[chat.model.provider]["chat"].decode_response(chat, written(chat, scenario)))


def read(model: str, scenario: Scenario, cuts: Sequence[float]) -> list[Delta]:
    """The deltas of the streamed answer, split at these fractions of its length."""
    chat = bound(model, stream=True)
    body = written(chat, scenario)
    decoder = ADAPTERS[chat.model.provider]["chat"].decoder(chat)
    return list(read_stream(decoder, body, (int(cut * len(body)) for cut in cuts)))


def encoded(deltas: Sequence[Delta], *, separate_usage: bool) -> bytes:
    """The gateway's own stream of ``deltas``."""
    encoder = ChatChunkEncoder("chatcmpl-1", 1, "model")
    chunks = b"".join(encoder.encode(delta) for delta in deltas)
    return chunks + encoder.last(put_together(deltas).finish_reasons(), {"tee_id": "0x"}, separate_usage=separate_usage)


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
    got = put_together(deltas)
    assert got.usage == expected.usage
    assert got.finish_reasons() == expected.finish_reasons()
    stream = encoded(deltas, separate_usage=separate_usage)
    assert signed_output(reassemble(stream)["choices"]) == signed_output(expected.choices())
    [choice], [wanted] = folded(stream)["choices"], expected.choices()
    assert outcome(choice["message"]) == outcome(wanted["message"])
    for call in choice["message"].get("tool_calls", ()):
        assert isinstance(json.loads(call["function"]["arguments"]), dict)
