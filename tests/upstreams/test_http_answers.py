"""Answers on a connection, byte by byte: what is complete, what is not, and what may come on the same connection."""

import pytest

from tools.fuzz.http_answers import Outcome, arrive

HEAD = b"HTTP/1.1 200 OK\r\n"
LENGTH = HEAD + b"Content-Length: 2\r\n\r\n{}"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED])
@pytest.mark.parametrize(
    ("more", "reusable"),
    [(b"", True), (b"\r\n", True), (b"x", False), (b"0\r\n\r\n", False), (LENGTH, False), (CHUNKED[:20], False)],
)
async def test_what_follows_a_complete_answer_takes_nothing_from_it(answer: bytes, more: bytes, reusable: bool) -> None:
    assert await arrive([answer + more], "kept") == Outcome("complete", 200, b"{}", reusable)
    late = await arrive([answer, more] if more else [answer], "kept")
    assert (late.state, late.status, late.body) == ("complete", 200, b"{}")
    assert late.reusable is (not more)


@pytest.mark.parametrize("end", ["closed", "reset"])
@pytest.mark.parametrize("answer", [LENGTH[:-1], CHUNKED[:-1], HEAD, b""])
async def test_an_answer_that_is_cut_has_failed(answer: bytes, end: str) -> None:
    assert (await arrive([answer] if answer else [], end)).state == "failed"


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    answer = HEAD + b"\r\n{}"
    assert (await arrive([answer], "kept")).state == "waiting"
    assert await arrive([answer], "closed") == Outcome("complete", 200, b"{}", reusable=False)
    assert (await arrive([answer], "reset")).state == "failed"
