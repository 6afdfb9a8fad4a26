"""A complete answer that takes its time: the status goes out early, so that a paying client does not give up.

The OpenGradient SDK waits 60 s for bytes and then pays again (facts/x402.md 2.4). Blanks before the JSON keep it
waiting; the headers have left by then, so signature and receipt are in the body only.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from gateway.exchange import Answer
from gateway.openai_api.errors import GatewayError

PATIENCE_SECONDS = 45.0
BLANK_SECONDS = 10.0


async def answer_in_time(
    request: web.BaseRequest,
    answering: Coroutine[Any, Any, Answer | None],
    headers: Mapping[str, str],
    broke_off: Callable[[GatewayError], None],
) -> Answer | web.StreamResponse | None:
    """The answer when it comes within 45 s; otherwise the response that was begun, kept awake and ended with it.

    An error after the status has left breaks the connection off, with its envelope as the last thing sent;
    ``broke_off`` hears of it.
    """
    task = asyncio.ensure_future(answering)
    try:
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        if done:
            return task.result()
        return await _kept_awake(request, task, headers, broke_off)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _kept_awake(
    request: web.BaseRequest,
    task: asyncio.Future[Answer | None],
    headers: Mapping[str, str],
    broke_off: Callable[[GatewayError], None],
) -> web.StreamResponse | None:
    """Blanks until the answer is there. That the client left meanwhile is for the answer to notice and account for."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
    with suppress(ConnectionError):
        await response.prepare(request)
    while not task.done():
        with suppress(ConnectionError):
            await response.write(b" ")
        await asyncio.wait({task}, timeout=BLANK_SECONDS)
    try:
        answer = task.result()
    except GatewayError as error:
        broke_off(error)
        with suppress(ConnectionError):
            await response.write(error.body())
        response.force_close()
        if request.transport is not None:
            request.transport.close()
        return response
    if answer is None:
        return None
    with suppress(ConnectionError):
        await response.write(answer.body)
    return response
