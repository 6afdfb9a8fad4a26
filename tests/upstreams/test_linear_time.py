"""Text chosen by callers and models is processed in linear time: one event loop serves all requests."""

import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.billing import media_tokens
from gateway.catalog import bundled
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.checks import check
from gateway.openai_api.deltas import MessageField, Reasoning
from gateway.openai_api.json_body import decode
from gateway.openai_api.messages import ReasoningDetail
from gateway.openai_api.request import parse_chat
from gateway.openai_api.stream import TextChunkEncoder
from gateway.upstreams.adapter import Chat
from gateway.upstreams.anthropic import replay
from gateway.upstreams.anthropic.fences import FenceStripper
from gateway.upstreams.anthropic.partial_json import completion
from gateway.upstreams.anthropic.schema import restrict
from gateway.upstreams.anthropic.thoughts import Thoughts, place_after
from gateway.upstreams.anthropic.turn_recorder import TurnRecorder
from gateway.upstreams.gemini.citations import annotations
from gateway.upstreams.gemini.wire import GroundingMetadata
from gateway.upstreams.name_map import NameMap
from gateway.upstreams.openai.dialects import XAI
from gateway.upstreams.openai.request import build
from gateway.upstreams.openai.think_tags import ThinkTagParser
from gateway.upstreams.signature_cache import SignatureCache
from gateway.upstreams.sse import SSEReader
from gateway.upstreams.vendor_errors import public_message

SIZE = 200_000


def unfence(text: str) -> None:
    stripper = FenceStripper()
    stripper.feed("```json\n{")
    stripper.feed(text)
    stripper.feed("x")
    stripper.finish()


def open_fence(text: str) -> None:
    stripper = FenceStripper()
    stripper.feed(text)
    stripper.finish()


def split_thoughts(text: str) -> None:
    tags = ThinkTagParser()
    list(tags.feed("<think>" + text))
    list(tags.finish())


def read_events(text: str) -> None:
    reader = SSEReader()
    reader.feed(text.encode())
    reader.close()


def complete(text: str) -> None:
    completion('{"a":"' + text)


def quote_file(text: str) -> None:
    media_tokens.tokens("file", {"file_data": "data:" + text})


READERS = [public_message, unfence, open_fence, split_thoughts, read_events, complete, quote_file]
PATTERNS = [
    " ",
    "\n",
    "\t \n",
    "\n ",
    "`",
    "\n``",
    "```\n",
    "team ",
    "in organization ",
    "for\n",
    "a.",
    "</think",
    "<",
    "\\",
    '\\"',
    "\\u",
    "\\ud83d",
    "{[",
    "data: x\n",
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_long_repetitions(read: Callable[[str], object], pattern: str) -> None:
    text = (pattern * (SIZE // len(pattern)))[:SIZE]
    started = time.process_time()
    read(text)
    read("x" + text + "y")
    assert time.process_time() - started < 1.0


MANY = 20_000


def alike() -> None:
    names = NameMap(re.compile(r"[^a-z_]"), 64)
    for number in range(MANY):
        names.outbound(chr(0x4E00 + number))
        names.outbound("x" * 62 + f"{number:05}" + "y")


def renewed() -> None:
    ids = NameMap(re.compile(r"[^a-z_]"))
    for _ in range(MANY):
        ids.reissue("call")


def chained() -> None:
    links = {f"D{number}": {"$ref": f"#/$defs/D{number + 1}"} for number in range(MANY)}
    restrict({"$ref": "#/$defs/D0", "$defs": links | {f"D{MANY}": {"type": "null"}}}, lossless=False, param="x")


def long_name_around_many() -> None:
    """A path that is written out for every property is as long as the names around it."""
    inner = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(MANY)}}
    outer = {"type": "object", "properties": {"n" * 2_000_000: inner}}
    assert restrict(outer, lossless=True, param="x")["properties"]


def thought_in_pieces() -> None:
    piece = ReasoningDetail(type="reasoning.text", format=replay.FORMAT, index=0, text="x" * 100)
    sealed = ReasoningDetail(type="reasoning.text", format=replay.FORMAT, index=0, signature="s")
    pieces = [*[piece] * 5 * MANY, sealed]
    assert replay._from_details(pieces, [""] * len(pieces), "").blocks


def thoughts_between_calls() -> None:
    places = [place_after(number, number) for number in range(MANY)]
    calls: list[dict[str, Any]] = [{"type": "tool_use"}] * MANY
    assert Thoughts([{"type": "thinking"}] * MANY, places).interleave("x" * MANY, calls)


def allowed_tools() -> None:
    """Grok's ``tools`` are reduced to the allowed ones: 128 of them, and a list of any length."""
    named = [{"type": "function", "function": {"name": f"unknown{number}"}} for number in range(2 * MANY)]
    chosen: list[dict[str, Any]] = [*named, {"type": "function", "function": {"name": "t127"}}]
    functions = [{"name": f"t{number}", "parameters": {"type": "object", "properties": {}}} for number in range(128)]
    tools = [{"type": "function", "function": function} for function in functions]
    body = {
        "model": "grok-4.3",
        "messages": [{"role": "user", "content": "x"}],
        "tools": tools,
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": chosen}},
    }
    assert build(XAI, Chat(body, parse_chat(body), bundled().find("grok-4.3")))[0]["tools"] == tools[127:]


def many_tools() -> None:
    """Not every vendor limits their number."""
    tools = [{"type": "function", "function": {"name": f"tool{number}"}} for number in range(MANY)]
    check(parse_chat({"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "x"}], "tools": tools}))


SLOW_FRACTIONS = "[" + ",".join(["2.22507385850720138309e-308"] * 10 * MANY) + "]"


def slow_fractions_in_a_body() -> None:
    assert len(decode(f'{{"a":{SLOW_FRACTIONS}}}'.encode())["a"]) == 10 * MANY


def slow_fractions_in_arguments() -> None:
    assert SignatureCache().get("caller", "call_1", "tool", SLOW_FRACTIONS) is None


def many_choices() -> None:
    """32 prompts with 128 choices each."""
    encoder = TextChunkEncoder("cmpl-1", 1, "gpt-4.1")
    assert encoder.last(dict.fromkeys(range(32 * 128), "stop"), {}, separate_usage=False).count(b"stop") == 32 * 128


@pytest.mark.parametrize(
    "translate",
    [
        alike,
        renewed,
        chained,
        long_name_around_many,
        thought_in_pieces,
        thoughts_between_calls,
        allowed_tools,
        many_tools,
        slow_fractions_in_a_body,
        slow_fractions_in_arguments,
        many_choices,
    ],
    ids=lambda each: each.__name__,
)
def test_many_pieces_of_a_request(translate: Callable[[], None]) -> None:
    started = time.process_time()
    translate()
    assert time.process_time() - started < 1.0


BLANKS = 20_000


def stripped(head: str, piece: str) -> None:
    fences = FenceStripper()
    fences.feed(head)
    for _ in range(BLANKS):
        fences.feed(piece)


def blank_answer() -> None:
    """Models that are to write JSON sometimes write nothing but blanks, up to the limit."""
    stripped("", " ")


def blank_lines_in_a_fence() -> None:
    stripped("```json\n", "\n")


def text_after_a_fence() -> None:
    stripped("```json\n{}\n```", "and more" * 20)


def blanks_before_thoughts() -> None:
    tags = ThinkTagParser()
    for _ in range(8 * BLANKS):
        list(tags.feed(" "))


def long_thoughts() -> None:
    assembler = Assembler()
    for _ in range(2 * BLANKS):
        assembler.add(Reasoning(text="x" * 100, format=replay.FORMAT, index=0))
    assert len(assembler.choices()[0]["message"]["reasoning_details"][0]["text"]) == 200 * BLANKS


def many_annotations() -> None:
    assembler = Assembler()
    for number in range(2 * BLANKS):
        assembler.add(MessageField("annotations", [number]))
    assert assembler.choices()[0]["message"]["annotations"] == [*range(2 * BLANKS)]


def citations_of_a_paused_turn() -> None:
    recorder = TurnRecorder()
    recorder.start_block(0, {"type": "text", "text": "x", "citations": [0]})
    for number in range(1, 2 * BLANKS):
        recorder.extend_block(0, {"type": "citations_delta", "citation": number})
    assert recorder.content()[0]["citations"] == [*range(2 * BLANKS)]


def many_grounded_segments() -> None:
    """Each page of a search supports many segments of a text in another alphabet than ASCII."""
    supports = [
        {"segment": {"startIndex": 2 * at, "endIndex": 2 * at + 2}, "groundingChunkIndices": [at % 50, at % 49]}
        for at in range(BLANKS)
    ]
    pages = [{"web": {"uri": "https://a.example/"}}] * 50
    metadata = msgspec.convert({"groundingChunks": pages, "groundingSupports": supports}, GroundingMetadata)
    found = annotations(metadata, "\u00e9" * BLANKS)
    assert found[-1]["url_citation"]["end_index"] - found[-1]["url_citation"]["start_index"] == 1


@pytest.mark.parametrize(
    "receive",
    [
        blank_answer,
        blank_lines_in_a_fence,
        text_after_a_fence,
        blanks_before_thoughts,
        long_thoughts,
        many_annotations,
        citations_of_a_paused_turn,
        many_grounded_segments,
    ],
    ids=lambda each: each.__name__,
)
def test_many_pieces_of_an_answer(receive: Callable[[], None]) -> None:
    started = time.process_time()
    receive()
    assert time.process_time() - started < 1.0
