"""A stub facilitator and price source: accepts every payment and settles it at once, without a chain.

Its CPU is not measured, only the gateway's part of a payment. ``python -m tools.bench.facilitator PORT``.
"""

import asyncio
import sys
from typing import Any

import msgspec
import uvloop
from aiohttp import web

from gateway.billing.definitions import bundled

SETTLER = "0x" + "5e" * 20
PRICE_USD = 0.1
_KINDS = [
    {"x402Version": 2, "scheme": scheme, "network": network.id, "extra": {"facilitatorAddress": SETTLER}}
    for network in bundled().networks.values()
    for scheme in ("exact", "upto")
]
SUPPORTED = {"kinds": _KINDS, "extensions": [], "signers": {"eip155:*": [SETTLER]}}


async def handle(request: web.BaseRequest) -> web.StreamResponse:
    body = await request.read()
    message = msgspec.json.decode(body) if body else {}
    match request.path:
        case "/supported":
            return _json(SUPPORTED)
        case "/verify":
            return _json({"isValid": True, "payer": _payer(message)})
        case "/settle":
            terms = message["paymentRequirements"]
            receipt = {"success": True, "transaction": "0x" + "7a" * 32, "network": terms["network"]}
            return _json({**receipt, "payer": _payer(message), "amount": terms["amount"]})
        case path if path.startswith("/simple/token_price/"):
            return _json({request.query["contract_addresses"]: {"usd": PRICE_USD}})
    return web.Response(status=404)


def _payer(message: dict[str, Any]) -> str:
    payload = message["paymentPayload"]["payload"]
    return str((payload.get("permit2Authorization") or payload["authorization"])["from"])


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


async def serve() -> None:
    server = web.Server(handle, access_log=None)
    await asyncio.get_running_loop().create_server(server, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
