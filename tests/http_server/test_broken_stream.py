"""The end of a stream that fails after its first event."""

import asyncio

import aiohttp
import pytest

from gateway.http_server import stream_reply
from tests.running_gateway import RunningGateway
from tools.simulators.scenario import directive

LINGER = 4321.0


async def test_the_connection_is_closed_only_after_the_error_event_can_have_been_read(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    lingering, close, sleep = asyncio.Event(), asyncio.Event(), asyncio.sleep

    async def linger(seconds: float) -> None:
        if seconds != LINGER:
            await sleep(seconds)
            return
        lingering.set()
        await close.wait()

    monkeypatch.setattr(stream_reply, "LINGER_SECONDS", LINGER)
    monkeypatch.setattr(asyncio, "sleep", linger)
    prompt = directive({"text": "one two three", "error": "server_error", "error_after": 3})
    body = {"model": "gpt-4.1", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    async with gateway.session.post(gateway.url + "/v1/chat/completions", json=body) as response:
        async for line in response.content:
            if line.startswith(b'data: {"error"'):
                break
        async with asyncio.timeout(10):
            await lingering.wait()
        assert not response.content.at_eof()
        assert response.content.exception() is None
        close.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
