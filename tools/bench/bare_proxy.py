"""The baseline: a minimal aiohttp proxy that forwards request and response bodies.

``python -m tools.bench.bare_proxy PORT`` serves ``/PROVIDER/path``; ``UPSTREAMS`` holds base URLs by provider as JSON.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
import uvloop
from aiohttp import web
from yarl import URL

from gateway import garbage_collection

Answer = Callable[[bytes, aiohttp.ClientResponse], Awaitable[web.Response]]


class EventStream(web.StreamResponse):
    """Sends its headers with the first event."""

    _send_headers_immediately = False


class BareProxy:
    """Forwards with a pooled session; ``answer`` builds the response to a request that is not streamed."""

    def __init__(self, session: aiohttp.ClientSession, bases: dict[str, str], answer: Answer) -> None:
        self._session = session
        self._bases = bases
        self._answer = answer

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        provider, _, path = request.path[1:].partition("/")
        body = await request.read()
        url = URL(f"{self._bases[provider]}/{path}", encoded=True)
        async with self._session.post(url, data=body) as upstream:
            if upstream.content_type != "text/event-stream":
                return await self._answer(body, upstream)
            reply = EventStream(headers={"Content-Type": "text/event-stream"})
            await reply.prepare(request)
            async for chunk in upstream.content.iter_any():
                await reply.write(chunk)
            await reply.write_eof()
            return reply


async def pass_through(body: bytes, upstream: aiohttp.ClientResponse) -> web.Response:
    return web.Response(body=await upstream.read(), status=upstream.status, content_type="application/json")


async def serve(answer: Answer) -> None:
    """Serve until the process is terminated."""
    async with aiohttp.ClientSession(
        headers={"Authorization": "Bearer bare", "Content-Type": "application/json"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        proxy = BareProxy(session, msgspec.json.decode(os.environ["UPSTREAMS"]), answer)
        server = web.Server(proxy.handle, access_log=None, request_factory=_request)
        await asyncio.get_running_loop().create_server(server, "127.0.0.1", int(sys.argv[1]), backlog=1024)
        garbage_collection.freeze()
        await asyncio.Event().wait()


def _request(message: object, payload: object, protocol: object, writer: object, task: object) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=64 * 2**20)  # type: ignore[arg-type]


if __name__ == "__main__":
    uvloop.run(serve(pass_through))
