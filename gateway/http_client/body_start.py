"""Bodies that aiohttp's client receives, whose own method reads and decompresses them without a limit."""

import aiohttp


async def read_start(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, truncated to ``limit`` bytes."""
    body = bytearray()
    while len(body) < limit and (piece := await response.content.read(limit - len(body))):
        body += piece
    return bytes(body)
