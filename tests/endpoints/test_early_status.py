"""A complete answer after the early status, when the client has disconnected: nothing is sent, and nothing fails."""

import asyncio
import time
from typing import Any, ClassVar

import pytest

from gateway.answer import Answer
from gateway.endpoints import early_status
from gateway.endpoints.early_status import with_early_status
from gateway.openai_api.errors import GatewayError, internal_error


class DisconnectedResponse:
    """A response whose client has disconnected: every send fails; ``prepared`` tells whether the status was sent."""

    made: ClassVar[list["DisconnectedResponse"]] = []
    prepared = True

    def __init__(self, headers: dict[str, str]) -> None:
        self.sent: list[bytes] = []
        self.closed = False
        self.made.append(self)

    def send(self, request: Any, data: bytes) -> None:
        self.sent.append(data)
        raise ConnectionResetError

    send_last = send

    def force_close(self) -> None:
        self.closed = True


class Request:
    transport = None


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> type[DisconnectedResponse]:
    monkeypatch.setattr(early_status, "StreamingResponse", DisconnectedResponse)
    monkeypatch.setattr(early_status, "EARLY_STATUS_SECONDS", 0.0)
    monkeypatch.setattr(DisconnectedResponse, "made", [])
    return DisconnectedResponse


async def no_failure(failure: Exception) -> GatewayError:
    raise AssertionError from failure


async def padded(gone: type[DisconnectedResponse]) -> None:
    """Return once padding was attempted."""
    async with asyncio.timeout(10):
        while not (gone.made and gone.made[0].sent):
            await asyncio.sleep(0)


async def test_its_answer_is_sent_to_nobody(gone: type[DisconnectedResponse]) -> None:
    async def answering() -> Answer:
        await padded(gone)
        return Answer(b"{}", {})

    request: Any = Request()
    ended: Any = await with_early_status(request, answering(), {}, time.perf_counter(), no_failure)
    assert gone.made == [ended]
    assert (ended.sent, ended.closed) == ([b" ", b"{}"], False)


async def test_its_error_is_told_to_nobody(gone: type[DisconnectedResponse]) -> None:
    async def failing() -> Answer:
        await padded(gone)
        raise ZeroDivisionError

    async def explain(failure: Exception) -> GatewayError:
        assert isinstance(failure, ZeroDivisionError)
        return internal_error()

    request: Any = Request()
    ended: Any = await with_early_status(request, failing(), {}, time.perf_counter(), explain)
    assert gone.made == [ended]
    assert (ended.sent, ended.closed) == ([b" ", internal_error().body()], True)


async def test_an_answer_that_found_its_client_gone_is_none(gone: type[DisconnectedResponse]) -> None:
    async def left() -> None:
        await padded(gone)

    request: Any = Request()
    assert await with_early_status(request, left(), {}, time.perf_counter(), no_failure) is None
    assert gone.made[0].sent == [b" "]
