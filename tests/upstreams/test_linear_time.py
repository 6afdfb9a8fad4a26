"""Text chosen by callers and models is processed in linear time: one event loop serves all requests."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.openai_api.messages import ReasoningDetail
from gateway.upstreams.anthropic import replay
from gateway.upstreams.anthropic.fences import FenceStripper
from gateway.upstreams.anthropic.partial_json import completion
from gateway.upstreams.anthropic.thoughts import Thoughts, place_after
from gateway.upstreams.json_schema import restrict
from gateway.upstreams.name_map import NameMap
from gateway.upstreams.openai.think_tags import ThinkTagParser
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


READERS = [public_message, unfence, open_fence, split_thoughts, read_events, complete]
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


def thought_in_pieces() -> None:
    piece = ReasoningDetail(type="reasoning.text", format=replay.FORMAT, index=0, text="x" * 100)
    sealed = ReasoningDetail(type="reasoning.text", format=replay.FORMAT, index=0, signature="s")
    pieces = [*[piece] * 5 * MANY, sealed]
    assert replay._from_details(pieces, [""] * len(pieces), "").blocks


def thoughts_between_calls() -> None:
    places = [place_after(number, number) for number in range(MANY)]
    calls: list[dict[str, Any]] = [{"type": "tool_use"}] * MANY
    assert Thoughts([{"type": "thinking"}] * MANY, places).interleave("x" * MANY, calls)


@pytest.mark.parametrize(
    "translate", [alike, renewed, chained, thought_in_pieces, thoughts_between_calls], ids=lambda each: each.__name__
)
def test_many_pieces_of_a_request(translate: Callable[[], None]) -> None:
    started = time.process_time()
    translate()
    assert time.process_time() - started < 1.0
