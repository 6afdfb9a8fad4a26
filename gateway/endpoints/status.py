"""Health, readiness, signing key, heartbeat and metrics."""

from typing import Any

from aiohttp import web

from gateway import __version__
from gateway.endpoints.json_response import json_response
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord


async def health(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Liveness, the operator's run-time facts and the current state."""
    settings = services.settings
    injected = services.keyring.injected
    body: dict[str, Any] = {
        "status": "ok",
        "version": __version__,
        "tee_enabled": services.tee_enabled,
        "payments": settings.payments,
        "providers": services.keyring.configured(),
        "facilitator": (injected and injected.facilitator_url) or settings.facilitator_url,
        "pay_to": (injected and injected.evm_payment_address) or settings.pay_to,
    }
    if settings.payments == "off":
        body["warning"] = "payments are disabled: every request is served for free"
    elif settings.enclave and injected is not None and not injected.journal_key:
        body["warning"] = "no journal_key was injected: unsettled payments are lost when this enclave stops"
    return json_response(body)


async def ready(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """200 if the gateway is ready for new work, otherwise 503 with the reasons."""
    reasons = services.reasons()
    return json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)


async def signing_key(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """The public key that signs every answer; the attestation document proves that an enclave generated it."""
    signer = services.signer
    return json_response(
        {"public_key": signer.public_pem, "tee_id": signer.tee_id, "wallet_address": signer.wallet_address}
    )


async def heartbeat(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """The registry heartbeat's state; 200 even if no heartbeat is configured."""
    return json_response(await services.cluster.heartbeat())


async def metrics(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Prometheus metrics."""
    body = await services.cluster.metrics()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
