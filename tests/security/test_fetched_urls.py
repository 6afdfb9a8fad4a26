"""Image URLs through the whole gateway: internal addresses are never connected to."""

import asyncio

import pytest

from tests.running_gateway import RunningGateway
from tools.simulators.fleet import Fleet

INSIDE = [
    "http://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "https://localhost:{port}/",
    "https://[::1]:{port}/",
    "https://[::ffff:127.0.0.1]:{port}/",
    "https://0.0.0.0:{port}/",
    "https://0:{port}/",
    "https://127.1:{port}/",
    "https://2130706433:{port}/",
    "https://0x7f000001:{port}/",
    "https://0177.0.0.1:{port}/",
    "https://127.0.0.1%00.example:{port}/",
    "https://user:password@127.0.0.1:{port}/",
    "https://example.com@127.0.0.1:{port}/",
    "https://127.0.0.1:{port}#@example.com/",
    "https://１２７.0.0.1:{port}/",
    "https://127。0。0。1:{port}/",
    "https://192.168.127.1:{port}/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "https:///x",
    "https://",
]


@pytest.mark.parametrize("url", INSIDE)
async def test_the_inside_is_not_connected_to(fleet: Fleet, gateway: RunningGateway, url: str) -> None:
    connected: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        picture = {"type": "image_url", "image_url": {"url": url.format(port=port)}}
        response = await gateway.post(
            "/v1/chat/completions",
            {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": [picture]}]},
        )
    assert response.status == 400
    error = (await response.json())["error"]
    assert error["code"] == "invalid_image_url"
    assert "127.0.0.1" not in error["message"]
    assert connected == []
    assert fleet.google.request_count == 0
    assert gateway.services.admission.active == 0
