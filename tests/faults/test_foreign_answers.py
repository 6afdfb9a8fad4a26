"""Unsolicited bytes on a pooled upstream connection are not taken for the next response."""

import asyncio
import json

import pytest

from tests.faults.raw_upstream import http
from tests.running_gateway import StartGateway


def answer(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return http(
        200, json.dumps({"id": "c", "created": 1, "model": "gpt-4.1", "choices": [choice], "usage": usage}).encode()
    )


UNASKED = {
    "a second answer": answer("somebody else's"),
    "half of one": answer("somebody else's")[:100],
    "a farewell to an idle connection": http(408, b"{}", b"Connection: close"),
    "bytes that are no HTTP": b"\0" * 10,
}


@pytest.mark.parametrize(
    ("name", "pause"), [*((name, 0.1) for name in UNASKED), ("a second answer", 0.0), ("half of one", 0.0)]
)
async def test_unasked_bytes_are_not_the_next_answer(start_gateway: StartGateway, name: str, pause: float) -> None:
    """They arrive together with the previous response, or while the connection is idle in the pool."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                asked = json.loads(await reader.readexactly(length))["messages"][0]["content"]
                writer.write(answer(f"to {asked}"))
                if asked == "one":
                    await asyncio.sleep(pause)
                    writer.write(UNASKED[name])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"})
        for asked in ("one", "two", "three"):
            response = await gateway.chat("gpt-4.1", asked)
            assert response.status == 200
            assert (await response.json())["choices"][0]["message"]["content"] == f"to {asked}"
            await asyncio.sleep(0.2)
    finally:
        server.close()
    assert connections == 2
