"""Micro-benchmarks: CPU microseconds of single steps of the hot path, the best of several runs."""

import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import msgspec

from gateway.billing.pricing import cost
from gateway.catalog import bundled
from gateway.envelope import canonical_chat_request
from gateway.keccak import keccak256
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.checks import check
from gateway.openai_api.json_body import decode
from gateway.openai_api.request import parse_chat
from gateway.openai_api.stream import ChatChunkEncoder
from gateway.openai_api.usage import Usage
from gateway.signing import Signer
from gateway.upstreams.adapter import Chat
from gateway.upstreams.registry import adapters
from gateway.upstreams.sse import SSEReader
from tools.bench import payment_steps
from tools.bench.workloads import chat as chat_request

TRIES = 5
TRY_SECONDS = 0.05
_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1767225600,
    "model": "gpt-4.1-2025-04-14",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "word " * 60, "refusal": None},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 500, "completion_tokens": 60, "total_tokens": 560},
}
_ANTHROPIC_ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "word " * 60}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 500, "output_tokens": 60},
}
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767225600,"model":"gpt-4.1-2025-04-14",'
    b'"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
)


def benchmarks() -> Mapping[str, Callable[[], Any]]:
    """Each step as a callable without arguments."""
    small, large = (chat_request("gpt-4.1", size) for size in (2048, 200 * 1024))
    raw = msgspec.json.encode(small)
    catalog = bundled()
    openai, anthropic = adapters()["openai"]["chat"], adapters()["anthropic"]["chat"]
    chat = Chat(small, parse_chat(small), catalog.find("gpt-4.1"))
    claude_body = chat_request("claude-sonnet-4-5", 2048)
    claude = Chat(claude_body, parse_chat(claude_body), catalog.find("claude-sonnet-4-5"))
    answer, claude_answer = msgspec.json.encode(_ANSWER), msgspec.json.encode(_ANTHROPIC_ANSWER)
    usage = Usage(prompt_tokens=500, completion_tokens=60)
    signer = Signer()
    return {
        "parse and check a 2 KiB request": lambda: check(parse_chat(decode(raw))),
        "OpenAI request": lambda: openai.build_request(chat),
        "OpenAI answer": lambda: list(openai.decode_response(chat, answer)),
        "Anthropic request": lambda: anthropic.build_request(claude),
        "Anthropic answer": lambda: list(anthropic.decode_response(claude, claude_answer)),
        "SSE reader, one event": _sse_step(),
        "stream event: read, decode, assemble, encode": _stream_step(openai.decoder(chat)),
        "canonical hash, 2 KiB": lambda: keccak256(canonical_chat_request(small)),
        "canonical hash, 200 KiB": lambda: keccak256(canonical_chat_request(large)),
        "cost of an answer": lambda: cost(chat.model, usage, date(2026, 1, 1)),
        "envelope: two hashes and an RSA-PSS signature": lambda: signer.sign(bytes(32), "word " * 60, 1767225600),
        **payment_steps.benchmarks(),
    }


def measure_steps() -> dict[str, float]:
    """CPU microseconds by step."""
    steps = {name: microseconds(step) for name, step in benchmarks().items()}
    return {
        **steps,
        "journal of a payment: claimed, begun, settled; both threads": payment_steps.journal_microseconds(),
    }


def microseconds(step: Callable[[], Any]) -> float:
    """CPU microseconds of one call, the best of TRIES runs of about TRY_SECONDS."""
    step()
    started, count = time.thread_time(), 0
    while time.thread_time() - started < TRY_SECONDS:
        step()
        count += 1
    return min(_time(step, count) for _ in range(TRIES)) * 1e6


def _time(step: Callable[[], Any], count: int) -> float:
    started = time.thread_time()
    for _ in range(count):
        step()
    return (time.thread_time() - started) / count


def _sse_step() -> Callable[[], Any]:
    reader = SSEReader()
    return lambda: reader.feed(_EVENT)


def _stream_step(decoder: Any) -> Callable[[], Any]:
    reader, assembler = SSEReader(), Assembler()
    encoder = ChatChunkEncoder("chatcmpl-1", 1767225600, "gpt-4.1")

    def step() -> bytes:
        deltas = [delta for event in reader.feed(_EVENT) for delta in decoder.feed(event)]
        assembler.extend(deltas)
        return b"".join([encoder.encode(delta) for delta in deltas])

    return step
