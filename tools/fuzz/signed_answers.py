"""The verifier's input: answers, signed here and then damaged, and the files that it is given.

It never fails with an exception, a valid answer passes, and an answer that passes displays what was signed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from gateway.envelope import canonical_chat_request, canonical_completion_request, signed_output
from gateway.keccak import keccak256
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta
from gateway.openai_api.stream import ChatChunkEncoder, ChunkEncoder, TextChunkEncoder
from gateway.openai_api.usage import Usage
from gateway.signing import Signer
from tools.fuzz.answers import make_deltas
from tools.fuzz.mutations import mutate_bytes, mutate_json
from tools.fuzz.target import BrokenPropertyError, Target
from tools.fuzz.valid_requests import chat_body
from tools.fuzz.vendors import mutate_events
from tools.verify.claims import Verdict
from tools.verify.errors import UsageError
from tools.verify.response import CLAIMS, verify_response
from tools.verify.signing_key import load_signing_key


@dataclass(frozen=True)
class Signed:
    """A request and the deltas of its answer; ``damage`` seeds the mutation of the signed answer."""

    request: dict[str, Any]
    deltas: list[Delta]
    stream: bool
    damage: int | None


def _make(random: Random) -> Signed:
    request = chat_body(random, "gpt-5")
    if random.random() < 0.3:
        request = {"model": "gpt-5", "prompt": random.choice(("Once", ["a", "b"], [1, 2])), "stop": ["x"]}
    if random.random() < 0.2:
        request = {**mutate_json(random, request), "model": "gpt-5"}
    damage = random.getrandbits(32) if random.random() < 0.8 else None
    deltas = make_deltas(random)
    request["n"] = 1 + max((getattr(delta, "choice", 0) for delta in deltas), default=0)
    return Signed(request, deltas, random.random() < 0.5, damage)


@cache
def _signer() -> Signer:
    return Signer()


def _check(signed: Signed) -> None:
    legacy = "prompt" in signed.request
    try:
        canonical = (canonical_completion_request if legacy else canonical_chat_request)(signed.request)
    except (KeyError, AttributeError, TypeError, ValueError, OverflowError):
        canonical = b"no gateway takes this request"
    answer, output = _answer(signed, canonical, legacy=legacy)
    damaged = answer if signed.damage is None else _damage(Random(signed.damage), answer, stream=signed.stream)
    try:
        claims = verify_response(load_signing_key(_signer().public_pem.encode()), signed.request, damaged)
    except UsageError:
        if canonical.startswith(b"{"):
            raise
        return
    if sorted(claim.name for claim in claims) != sorted(CLAIMS):
        raise BrokenPropertyError("not one verdict for each claim")
    valid = all(claim.verdict is Verdict.PASS for claim in claims)
    if damaged == answer and not valid:
        raise BrokenPropertyError(f"an honest answer was refused: {claims}")
    if valid and (shown := _displayed_text(damaged, stream=signed.stream)) not in (None, output):
        raise BrokenPropertyError(f"{shown!r} passes for {output!r}")


def _answer(signed: Signed, canonical: bytes, *, legacy: bool) -> tuple[bytes, str]:
    """The signed answer on the wire, and the text that was signed."""
    assembler = Assembler()
    encoder: ChunkEncoder = (TextChunkEncoder if legacy else ChatChunkEncoder)("id-1", 1, "m")
    assembler.extend(signed.deltas)
    choices = assembler.texts() if legacy else assembler.choices()
    output = signed_output(choices)
    extra = {
        "usage": (assembler.usage or Usage()).as_openai(),
        **_signer().sign(keccak256(canonical), output, 1_795_000_000).fields(),
    }
    if signed.stream:
        frames = b"".join(map(encoder.encode, signed.deltas))
        return frames + encoder.last(assembler.finish_reasons(), extra, separate_usage=False), output
    kind = "text_completion" if legacy else "chat.completion"
    return json.dumps({"id": "id-1", "object": kind, "choices": choices, **extra}).encode(), output


_TRICKS = (
    (b'"content":', b'"content":"x","content":'),
    (b'"content":', b'"text":"x","content":'),
    (b'"text":', b'"text":"x","text":'),
    (b'"finish_reason":', b'"finish_reason":"tool_calls","finish_reason":'),
    (b'"index":', b'"index":1,"index":'),
    (b'"choices":', b'"choices":[],"choices":'),
    (b"\n\ndata: ", b"\n\ndata: [DONE]\n\ndata: "),
    (b"data: ", b"data:"),
    (b"\n\n", b"\r\r"),
    (b"\n\n", b"\n\nevent: error\n"),
)
"""What two readers might read in two ways."""


def _damage(random: Random, answer: bytes, *, stream: bool) -> bytes:
    if random.random() < 0.3:
        return mutate_bytes(random, answer, random.randint(1, 3))
    if random.random() < 0.3:
        honest, tricky = random.choice(_TRICKS)
        head, *rest = answer.replace(b'": ', b'":').split(honest)
        place = random.randint(0, len(rest))
        return honest.join([head, *rest[:place]]) + tricky + honest.join(rest[place:]) if rest[place:] else answer
    for _ in range(random.randint(1, 2)):
        if stream:
            answer = mutate_events(random, answer)
        else:
            answer = json.dumps(mutate_json(random, json.loads(answer))).encode()
    return answer


def _displayed_text(answer: bytes, *, stream: bool) -> str | None:
    """The text that a simple client displays for one choice; None for several choices and for tool calls."""
    data = list(_events(answer)) if stream else [answer]
    if b"[DONE]" in data:
        data = data[: data.index(b"[DONE]")]
    choices = [choice for item in data for choice in json.loads(item, object_pairs_hook=_first)["choices"]]
    if any(choice.get("finish_reason") == "tool_calls" or choice.get("index", 0) != 0 for choice in choices):
        return None
    messages = [choice.get("message") or choice.get("delta") or {"content": choice.get("text")} for choice in choices]
    return "".join(message.get("content") or "" for message in messages)


def _events(stream: bytes) -> Iterator[bytes]:
    """The data of each event by the SSE standard, the last one also without a blank line."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for block in text.split(b"\n\n"):
        if lines := [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]:
            yield b"\n".join(lines)


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object as parsers build it that keep the first of duplicate keys; Python keeps the last."""
    return dict(reversed(pairs))


SIGNED_ANSWERS = Target("signed-answers", _make, _check)
