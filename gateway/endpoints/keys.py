"""``POST /v1/keys``: the one-time injection, from the host only."""

from aiohttp import web

from gateway.endpoints.json_response import json_response
from gateway.endpoints.serving import read_json
from gateway.services import Services
from gateway.telemetry import RequestRecord


async def inject_keys(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Take the keys once; 409 afterwards, 400 for a malformed body, which changes nothing."""
    async with read_json(services, request) as sent, services.injecting:
        injection = services.keyring.check(sent.json)
        for prepare in services.on_injection:
            await prepare(injection)
        providers = services.keyring.take(injection)
        return json_response({"status": "ok", "providers_initialized": providers, "heartbeat_enabled": False})
