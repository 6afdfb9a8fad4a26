"""The SSE reader against a trivially correct reference."""

from dataclasses import dataclass
from random import Random

import msgspec

from gateway.openai_api.errors import GatewayError
from gateway.upstreams.sse import Event, SSEReader
from tools.fuzz.mutations import mutate_bytes, split
from tools.fuzz.target import BrokenPropertyError, Target

_LINES = (
    b"data: a",
    b"data:b",
    b"data:",
    b'data: {"a": 1}',
    b"data: [DONE]",
    b"event: message_stop",
    b"event:",
    b": comment",
    b"id: 1",
    b"retry: 5",
    b"data",
    b"",
    b"",
    b"",
    b"\xc3\xa9",
    b"{",
    b'[{"error": 1}]',
    b"\xef\xbb\xbf",
    b"data: " + b"x" * 80,
)
_EVENTS = (
    (b"data: {}", b""),
    (b"event: ping", b'data: {"a": 1}', b""),
    (b"data: a", b"data: b", b""),
    (b"event: error", b""),
    (b": keep-alive", b""),
    (b"data: [DONE]", b""),
    (b"event: x", b": comment"),
)


@dataclass(frozen=True)
class Stream:
    """A stream in pieces, and the reader's limit."""

    pieces: list[bytes]
    limit: int


def _make(random: Random) -> Stream:
    lines = [random.choice(_LINES) for _ in range(random.randrange(12))]
    if random.random() < 0.4:
        lines = [line for _ in range(random.randrange(5)) for line in random.choice(_EVENTS)]
    parts = [line + random.choice((b"\n", b"\n", b"\r\n")) for line in lines]
    data = b"".join(parts)
    if random.random() < 0.3:
        data = mutate_bytes(random, data, random.randint(1, 4))
    cut = _whole_lines(random, data) if random.random() < 0.4 else split(random, data)
    return Stream(cut, random.choice((2**25, 2**25, 2**25, 120, 40)))


def _whole_lines(random: Random, data: bytes) -> list[bytes]:
    """``data`` split after line breaks only, as vendors send it; sometimes after a stray one."""
    cut = [b""]
    for line in data.splitlines(keepends=True):
        if random.random() < 0.5:
            cut.append(b"")
        cut[-1] += line
    return cut


def _check(stream: Stream) -> None:
    expected = reference(b"".join(stream.pieces))
    reader = SSEReader(stream.limit)
    try:
        events = [event for piece in stream.pieces for event in reader.feed(piece)] + reader.close()
    except GatewayError:
        if max(map(len, b"".join(stream.pieces).split(b"\n\n"))) <= stream.limit and not expected[-1].bare:
            raise BrokenPropertyError("an event within the limit was refused") from None
        return
    if any(len(event.data) - event.data.count(b"\n") > stream.limit for event in expected):
        raise BrokenPropertyError("an event beyond the limit was taken")
    if events != expected:
        raise BrokenPropertyError(f"{events} instead of {expected}")


def reference(data: bytes) -> list[Event]:
    """The events of a complete stream, parsed line by line."""
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    named = [place for place, line in enumerate(lines) if line]
    if named:
        lines[named[0]] = lines[named[0]].removeprefix(b"\xef\xbb\xbf")
    bare = next((place for place, line in enumerate(lines) if line[:1] in (b"{", b"[")), None)
    events: list[Event] = []
    name, collected = "", list[Event]()
    for line in [*lines[:bare], b""]:
        if line.startswith(b"data:"):
            collected.append(Event(name, line[5:].removeprefix(b" ")))
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
        elif not line:
            events += _dispatched(name, collected)
            name, collected = "", []
    if bare is not None:
        rest = lines[bare:-1] if not lines[-1] else lines[bare:]
        events.append(Event("", b"\n".join(rest), bare=True))
    return events


def _dispatched(name: str, lines: list[Event]) -> list[Event]:
    """The events that a blank line ends: one of all data lines, or one of each where each is complete by itself."""
    if len(lines) > 1 and not all(line.data == b"[DONE]" or _is_json_object(line.data) for line in lines):
        return [Event(name, b"\n".join(line.data for line in lines))]
    return lines if len(lines) > 1 else [Event(name, line.data) for line in lines]


def _is_json_object(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return data[:1] == b"{"


EVENT_STREAMS = Target("event-streams", _make, _check)
