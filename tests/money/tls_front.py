"""A self-signed TLS front, as nitriding puts before the gateway: what it decrypts goes on to the gateway unchanged."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.certificates import self_signed


@asynccontextmanager
async def tls_front(gateway_url: str, folder: Path) -> AsyncIterator[tuple[str, bytes]]:
    """Its https URL, and the DER of its certificate."""
    pem, certificate = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    behind = urlsplit(gateway_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(behind.hostname, behind.port)
        await asyncio.gather(_carry(reader, onward_writer), _carry(onward_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", certificate


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
    with suppress(ConnectionError, ssl.SSLError):
        await target.wait_closed()
