"""Calls through a separate transport, for the transport's tests."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from gateway.http_client.response import Response
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import UpstreamCall
from gateway.upstreams.error_rules import map_error
from gateway.upstreams.openai.errors import OPENAI_ERRORS
from gateway.upstreams.transport import Limits, Transport
from gateway.upstreams.vendor_errors import parse

CALL = UpstreamCall("/chat/completions", b'{"model":"m"}', stream=False, headers={"X-Extra": "1"})
KEY = {"Authorization": "Bearer k"}
FAST = Limits(connect_timeout=1.0, first_byte_timeout=1.0, max_attempts=3, backoff=0.01, max_retry_after=0.5)


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    return map_error(OPENAI_ERRORS, parse(status, headers, body))


@asynccontextmanager
async def opened(url: str, limits: Limits = FAST, tls: ssl.SSLContext | None = None) -> AsyncIterator[Transport]:
    transport = Transport(url, limits, tls=tls)
    try:
        yield transport
    finally:
        await transport.close()


async def send(transport: Transport, call: UpstreamCall = CALL) -> Response:
    return await transport.send(call, KEY, decode_error)


async def refused(transport: Transport) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await send(transport)
    return caught.value
