"""Response parsing byte by byte: completeness, limits, and reuse of the connection."""

import asyncio
import gc
import gzip
import weakref

import pytest
import uvloop

from gateway.http_client.connection import ClientConnection
from gateway.http_client.response import ReadTimeoutError, RemoteProtocolError, Response
from gateway.upstreams.transport import Limits, read_body
from tests.upstreams.scripted_server import ScriptedServer, Writer, http
from tests.upstreams.transport_calls import opened, send
from tests.waiting import until
from tools.fuzz.http_answers import Outcome, receive

HEAD = b"HTTP/1.1 200 OK\r\n"
LENGTH = HEAD + b"Content-Length: 2\r\n\r\n{}"
PACKED = gzip.compress(b"data: {}\n\n", mtime=0)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED])
@pytest.mark.parametrize(
    ("more", "reusable"),
    [(b"", True), (b"\r\n", True), (b"x", False), (b"0\r\n\r\n", False), (LENGTH, False), (CHUNKED[:20], False)],
)
async def test_what_follows_a_complete_answer_takes_nothing_from_it(answer: bytes, more: bytes, reusable: bool) -> None:
    assert await receive([answer + more], "kept") == Outcome("complete", 200, b"{}", reusable)
    late = await receive([answer, more] if more else [answer], "kept")
    assert (late.state, late.status, late.body) == ("complete", 200, b"{}")
    assert late.reusable is (not more)


async def test_what_arrives_unasked_ends_the_connection_and_is_no_answer_to_the_next_call() -> None:
    sent = asyncio.Event()

    async def chatter(writer: Writer) -> None:
        writer.write(LENGTH)
        await heard.wait()
        writer.write(http(200, b"unasked"))
        await writer.drain()
        sent.set()

    heard = asyncio.Event()
    async with ScriptedServer([chatter, http(200, b"asked")]) as server, opened(server.url) as transport:
        assert await read_body(await send(transport)) == b"{}"
        heard.set()
        await sent.wait()
        await until(lambda: not server.open)
        assert await read_body(await send(transport)) == b"asked"
        assert server.connections == 2


async def test_trailers_are_no_headers_of_the_next_answer() -> None:
    trailed = CHUNKED[:-2] + b"X-Trailer: 1\r\n\r\n"
    async with ScriptedServer([trailed, LENGTH]) as server, opened(server.url) as transport:
        await read_body(await send(transport))
        response = await send(transport)
        assert response.raw_headers == {b"content-length": b"2"}
        assert server.connections == 1


async def test_of_repeated_headers_the_last_is_kept_however_they_are_spelt() -> None:
    repeated = HEAD + b"X-Id: 1\r\nx-id: 2\r\nX-Id: 3\r\nContent-Length: 0\r\n\r\n"
    async with ScriptedServer([repeated]) as server, opened(server.url) as transport:
        assert (await send(transport)).raw_headers == {b"x-id": b"3", b"content-length": b"0"}


@pytest.mark.parametrize("end", ["closed", "reset"])
@pytest.mark.parametrize("answer", [LENGTH[:-1], CHUNKED[:-1], HEAD, b""])
async def test_an_answer_that_is_cut_has_failed(answer: bytes, end: str) -> None:
    assert (await receive([answer] if answer else [], end)).state == "failed"


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    answer = HEAD + b"\r\n{}"
    assert (await receive([answer], "kept")).state == "waiting"
    assert await receive([answer], "closed") == Outcome("complete", 200, b"{}", reusable=False)
    assert (await receive([answer], "reset")).state == "failed"


async def test_a_trailer_may_end_the_connection() -> None:
    answer = CHUNKED[:-2] + b"Connection: close\r\n\r\n"
    assert await receive([answer], "kept") == Outcome("complete", 200, b"{}", reusable=False)


@pytest.mark.parametrize("start", [b"2\r\n{}\r\n0\r\n", b"2\r\n{}\r\n0\r\nT: ", b"2;"])
async def test_what_is_no_body_has_a_limit(start: bytes) -> None:
    """Many trailers, an endless trailer, an endless chunk extension."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + start
    more = [b"T%d: %s\r\n" % (number, b"x" * 1000) if start.endswith(b"\n") else b"x" * 1000 for number in range(70)]
    assert (await receive([head, *more[:60]], "kept")).state == "waiting"
    assert (await receive([head, *more], "kept")).state == "failed"


async def test_framing_that_comes_apart_from_its_chunks_does_not_add_up() -> None:
    chunks = [part for _ in range(70) for part in (b"2;" + b"x" * 1000 + b"\r\n", b"{}\r\n")]
    answer = [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]
    assert await receive(answer, "kept") == Outcome("complete", 200, b"{}" * 70, reusable=True)


@pytest.mark.parametrize(
    ("packed", "state"),
    [(PACKED, "complete"), (PACKED[:-1], "failed"), (PACKED[:15], "failed"), (PACKED + b"x", "failed")],
)
async def test_what_was_packed_ends_where_the_answer_does(packed: bytes, state: str) -> None:
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert (await receive([head, packed], "kept")).state == state
    assert (await receive([head, *(packed[place : place + 1] for place in range(len(packed)))], "kept")).state == state


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_came_before_a_fault_in_the_framing_is_delivered(at_once: bool) -> None:
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    faulty = b"2\r\n{}\r\nzz\r\n"
    heard = asyncio.Event()

    async def stumble(writer: Writer) -> None:
        writer.write(head)
        await heard.wait()
        writer.write(faulty)

    taken: list[bytes] = []
    async with ScriptedServer([head + faulty if at_once else stumble]) as server, opened(server.url) as transport:
        response = await send(transport)
        heard.set()
        with pytest.raises(RemoteProtocolError):
            await response.stream(taken.append, 1.0)
        assert transport.open_connections == 0
    assert taken == [b"{}"]


async def test_the_shorter_read_timeout_of_a_stream_counts_from_its_last_byte() -> None:
    """The connection's timer was armed for the longer first-byte timeout."""

    async def stall(writer: Writer) -> None:
        writer.write(LENGTH[:-1])
        await writer.drain()
        await asyncio.sleep(30)

    async with ScriptedServer([stall]) as server, opened(server.url, Limits(first_byte_timeout=20.0)) as transport:
        response = await send(transport)
        async with asyncio.timeout(5.0):
            with pytest.raises(ReadTimeoutError):
                await response.stream(lambda _: None, 0.1)


async def test_whoever_goes_as_the_headers_come_leaves_no_connection_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    headers_received = Response.headers_received

    def cancel_late(response: Response, status: int, headers: dict[bytes, bytes]) -> None:
        headers_received(response, status, headers)
        asking.cancel()

    monkeypatch.setattr(Response, "headers_received", cancel_late)
    async with ScriptedServer([LENGTH[:-1]]) as server, opened(server.url) as transport:
        asking = asyncio.create_task(send(transport))
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert transport.open_connections == 0


async def test_a_lost_connection_is_no_rubbish_to_collect() -> None:
    gc.disable()
    try:
        connection = ClientConnection(asyncio.get_running_loop())
        connection.connection_made(asyncio.Transport())
        connection.connection_lost(None)
        trace = weakref.ref(connection)
        del connection
        assert trace() is None
    finally:
        gc.enable()


def test_others_are_served_between_two_large_reads() -> None:
    """libuv goes on reading while it can fill its buffer, 32 times: a burst of events took 180 ms at once."""
    body = b"x" * (4 * 2**20)

    async def read() -> list[tuple[int, int]]:
        iteration = 0
        reads: list[tuple[int, int]] = []

        async def count() -> None:
            nonlocal iteration
            while True:
                iteration += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        async with ScriptedServer([http(200, body)]) as server, opened(server.url) as transport:
            response = await send(transport)
            await response.stream(lambda data: reads.append((iteration, len(data))), 5.0)
        counting.cancel()
        return reads

    reads = uvloop.run(read())
    large = [iteration for iteration, size in reads if size > 128 * 1024]
    assert sum(size for _, size in reads) == len(body)
    assert len(large) == len(set(large)) > 1


@pytest.mark.parametrize("paused", [False, True])
async def test_a_response_that_is_paused_after_a_large_read_stays_paused(paused: bool) -> None:
    endless = HEAD + b"Content-Length: 1000000\r\n\r\n"
    async with ScriptedServer([endless]) as server, opened(server.url) as transport:
        response = await send(transport)
        connection = response._connection
        assert isinstance(connection.transport, asyncio.Transport)
        connection.data_received(b"x" * 200_000)
        assert not connection.transport.is_reading()
        if paused:
            response.pause_reading()
        await asyncio.sleep(0)
        assert connection.transport.is_reading() is not paused
        response.close()
