"""The SSE decoder: the same events however the bytes are split (facts/providers.md 1.6)."""

import itertools
import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.errors import GatewayError
from gateway.upstreams.sse import MAX_EVENT_BYTES, Event, SSEReader


def read(pieces: Iterable[bytes], limit: int = MAX_EVENT_BYTES) -> list[Event]:
    reader = SSEReader(limit)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", []),
        (b"data: a\n\n", [Event("", b"a")]),
        (b"data: a\r\n\r\n", [Event("", b"a")]),
        (b"data: a\r\n\n", [Event("", b"a")]),
        (b"data: a\n\r\n", [Event("", b"a")]),
        (b"data:a\n\ndata:  b\n\n", [Event("", b"a"), Event("", b" b")]),
        (b"data: a\ndata: b\ndata:\n\n", [Event("", b"a\nb\n")]),
        (b"data:\n\n", [Event("", b"")]),
        (b'data: {"a":\ndata: 1}\n\n', [Event("", b'{"a":\n1}')]),
        (b'data: {"a": {}\ndata: }\n\n', [Event("", b'{"a": {}\n}')]),
        (b"data: {}\ndata: a\n\n", [Event("", b"{}\na")]),
        (b"data: 1\ndata: 2\n\n", [Event("", b"1\n2")]),
        (b"data: {}\ndata: {}\ndata: [DONE]\n\n", [Event("", b"{}"), Event("", b"{}"), Event("", b"[DONE]")]),
        (
            b"event: x\r\ndata: {}\r\nevent: y\r\ndata: {}\r\n\r\ndata: {}\n\n",
            [Event("x", b"{}"), Event("y", b"{}"), Event("", b"{}")],
        ),
        (b"event: message_start\ndata: a\n\n", [Event("message_start", b"a")]),
        (b"event:x\ndata: a\n\ndata: b\n\n", [Event("x", b"a"), Event("", b"b")]),
        (b"event: ping\n\ndata: b\n\n", [Event("", b"b")]),
        (b"event: caf\xc3\xa9\ndata: a\n\n", [Event("caf\u00e9", b"a")]),
        (b"event: \xff\ndata: a\n\n", [Event("\ufffd", b"a")]),
        (b": keep-alive\n\ndata: a\n\n: bye\n\n", [Event("", b"a")]),
        (b"data: a\n: comment\ndata: b\n\n", [Event("", b"a\nb")]),
        (b"id: 7\nretry: 10\nunknown: x\ndata\ndata: a\n\n", [Event("", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("", b"a")]),
        (b"data: \xef\xbb\xbfa\n\n", [Event("", b"\xef\xbb\xbfa")]),
        (b"\n\n\ndata: a\n\n\n\n", [Event("", b"a")]),
        (b"data: a\n\n\n", [Event("", b"a")]),
        (b"data: a\n\x0b\ndata: b\n\n", [Event("", b"a\nb")]),
        (b"data: \n\n", [Event("", b"")]),
        (b"data: a", [Event("", b"a")]),
        (b"data: a\r", [Event("", b"a")]),
        (b"data: a\n", [Event("", b"a")]),
        (b"data: a\ndata: b", [Event("", b"a\nb")]),
        (b"data: a\n\nevent: x", [Event("", b"a")]),
        (b"data: a\n\nevent: x\n", [Event("", b"a")]),
        (b'{"error": 1}', [Event("", b'{"error": 1}', bare=True)]),
        (
            b'data: {"a": 1}\ndata: {"a": 2}\n{"error": 1}\n',
            [Event("", b'{"a": 1}'), Event("", b'{"a": 2}'), Event("", b'{"error": 1}', bare=True)],
        ),
        (b'event: x\ndata: a\n{"error": 1}', [Event("x", b"a"), Event("", b'{"error": 1}', bare=True)]),
        (b'{\r\n  "error": 1\r\n}\r\n', [Event("", b'{\n  "error": 1\n}', bare=True)]),
        (b'[{\n"a": 1\n}]', [Event("", b'[{\n"a": 1\n}]', bare=True)]),
        (
            b'data: a\n\n{\n\n "error": {\ndata: no event\n}}\n',
            [Event("", b"a"), Event("", b'{\n\n "error": {\ndata: no event\n}}', bare=True)],
        ),
        (b'\xef\xbb\xbf{"a": 1}', [Event("", b'{"a": 1}', bare=True)]),
    ],
)
def test_streams(stream: bytes, events: list[Event]) -> None:
    assert read([stream]) == events
    assert read([stream[place : place + 1] for place in range(len(stream))]) == events
    for cut in range(len(stream)):
        assert read([stream[:cut], stream[cut:]]) == events


def test_only_the_first_line_may_have_a_mark() -> None:
    for pieces in ([b"data: a\n\n\xef\xbb\xbfdata: b\n\n"], [b"data: a\n\n", b"\xef\xbb\xbfdata: b\n\n"]):
        assert read(pieces) == [Event("", b"a")]
    assert read([b"\xef\xbb\xbfdata: a\n\n", b"\xef\xbb\xbfdata: b\n\n"]) == [Event("", b"a")]


def test_only_bare_json_is_marked() -> None:
    assert [(event.data, event.bare) for event in read([b"data: a\n\n", b"{"])] == [(b"a", False), (b"{", True)]
    assert not Event("", b"a").bare


def test_a_whole_event_behind_an_unfinished_one_belongs_to_it() -> None:
    assert read([b"data: a\n", b"data: b\n\n"]) == [Event("", b"a\nb")]
    assert read([b"event: x\n", b"data: b\n\n"]) == [Event("x", b"b")]
    assert read([b"da", b"data: b\n\n"]) == []
    assert read([b"{\n", b"data: b\n\n"]) == [Event("", b"{\ndata: b\n", bare=True)]


def test_events_come_as_soon_as_they_are_complete() -> None:
    reader = SSEReader()
    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\ndata: b\n\nda") == [Event("", b"a"), Event("", b"b")]
    assert reader.feed(b"ta: c\r\n\r") == []
    assert reader.feed(b"\n") == [Event("", b"c")]
    assert reader.close() == []


def test_the_end_is_told_once() -> None:
    reader = SSEReader()
    reader.feed(b"data: a")
    assert reader.close() == [Event("", b"a")]
    assert reader.close() == []


def test_bare_json_waits_for_the_end() -> None:
    reader = SSEReader()
    assert reader.feed(b'{"error":\n\n') == []
    assert reader.feed(b"1}\n\n") == []
    assert reader.close() == [Event("", b'{"error":\n\n1}\n', bare=True)]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 95,
        b"data: " + b"x" * 101 + b"\n\n",
        b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 41 + b"\n\n",
        b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 41,
        b"{" + b"x" * 100 + b"\n",
        b"{" + b"x" * 60 + b"\n" + b"x" * 40 + b"\n",
        b": " + b"x" * 99,
    ],
)
def test_what_is_too_large(stream: bytes) -> None:
    for size in (1, 7, len(stream)):
        with pytest.raises(GatewayError, match="too large"):
            read([stream[place : place + size] for place in range(0, len(stream), size)], limit=100)


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 94 + b"\n\n",
        b"data: " + b"x" * 46 + b"\ndata: " + b"x" * 46 + b"\n\n",
        b"{" + b"x" * 92,
        (b"data: " + b"x" * 90 + b"\n\n") * 5,
        (b": " + b"x" * 90 + b"\n") * 5,
    ],
)
def test_what_just_fits(stream: bytes) -> None:
    for size in (1, 7, len(stream)):
        assert read([stream[place : place + size] for place in range(0, len(stream), size)], limit=100) is not None


@pytest.mark.parametrize("before", [b"", b": c\n", b"event: x\ndata: y\n\n", b"data: y\n\n", b"event: x\n\n"])
@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False)])
def test_what_came_before_does_not_count(before: bytes, size: int, fits: bool) -> None:
    reader = SSEReader(limit=100)
    reader.feed(before)
    if fits:
        assert reader.feed(b"x" * size) == []
        return
    with pytest.raises(GatewayError, match="too large"):
        reader.feed(b"x" * size)


def test_an_unfinished_line_counts_with_the_event_it_belongs_to() -> None:
    reader = SSEReader(limit=100)
    reader.feed(b"data: " + b"x" * 60 + b"\n")
    reader.feed(b"y" * 40)
    with pytest.raises(GatewayError, match="too large"):
        reader.feed(b"y")


def test_the_next_event_does_not_count_with_the_one_that_ends_before_it() -> None:
    reader = SSEReader(limit=100)
    assert reader.feed(b"data: " + b"x" * 60 + b"\n") == []
    assert reader.feed(b"\ndata: " + b"y" * 94) == [Event("", b"x" * 60)]
    with pytest.raises(GatewayError, match="too large"):
        reader.feed(b"y")


@pytest.mark.parametrize("bare", [b"{" + b"x" * 99 + b"\n", b"{" + b"x" * 49 + b"\n" + b"x" * 50 + b"\n"])
def test_bare_json_of_the_limit_fits(bare: bytes) -> None:
    assert read([bare], limit=100) == [Event("", bare[:-1], bare=True)]


def test_a_line_of_the_limit_fits_when_it_comes_whole() -> None:
    assert read([b"data: " + b"x" * 100 + b"\n\n"], limit=100) == [Event("", b"x" * 100)]


def test_default_limit_holds_a_large_picture() -> None:
    picture = b"x" * (20 * 1024 * 1024)
    pieces = [b"data: ", *(picture[place : place + 2**20] for place in range(0, len(picture), 2**20)), b"\n\n"]
    assert read(pieces) == [Event("", picture)]
    assert MAX_EVENT_BYTES == 32 * 1024 * 1024


lines = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data:",
        b"event: x",
        b"event:",
        b": c",
        b"id: 1",
        b"",
        b"",
        b"\xc3\xa9",
        b"data: \xc3\xa9",
    ]
)
streams = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n"]))).map(
    lambda parts: b"".join(line + ending for line, ending in parts)
)


def naive(stream: bytes) -> list[Event]:
    """A reference decoder: all bytes at once, split at blank lines."""
    found = []
    blocks = re.split(rb"\n(?:\n)+", b"\n" + stream.replace(b"\r\n", b"\n"))
    for block in blocks:
        data = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
        names = [line[6:].strip().decode() for line in block.split(b"\n") if line.startswith(b"event:")]
        if data:
            found.append(Event(names[-1] if names else "", b"\n".join(data)))
    return found


@given(streams, st.lists(st.integers(0, 200), max_size=6))
def test_any_cut_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert read(pieces) == naive(stream)


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_garbage_never_fails(pieces: list[bytes]) -> None:
    assert read(pieces) == read([b"".join(pieces)])
