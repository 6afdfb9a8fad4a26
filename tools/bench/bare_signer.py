"""The baseline of verifiable answers: the bare proxy that also signs.

Decodes request and answer once, hashes and signs with the gateway's own key code, adds the ``tee_*`` fields. No
validation, metering, pricing, limits, errors or logs. ``python -m tools.bench.bare_signer PORT``.
"""

import time

import aiohttp
import msgspec
import uvloop
from aiohttp import web

from gateway.envelope import canonical_chat_request, signed_output
from gateway.keccak import keccak256
from gateway.signing import Signer
from tools.bench.bare_proxy import serve

signer = Signer()


async def signed(body: bytes, upstream: aiohttp.ClientResponse) -> web.Response:
    answer = msgspec.json.decode(await upstream.read())
    request_hash = keccak256(canonical_chat_request(msgspec.json.decode(body)))
    envelope = signer.sign(request_hash, signed_output(answer["choices"]), int(time.time()))
    answer.update(envelope.fields())
    return web.Response(
        body=msgspec.json.encode(answer),
        headers=envelope.headers(),
        status=upstream.status,
        content_type="application/json",
    )


if __name__ == "__main__":
    uvloop.run(serve(signed))
