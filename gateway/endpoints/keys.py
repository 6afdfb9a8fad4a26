"""``POST /v1/keys`` (the one-time injection, plain or sealed, from the host only) and the key to seal it to."""

from aiohttp import web

from gateway.billing.refusals import payments_unavailable
from gateway.billing.storage.store import StoreUnavailableError
from gateway.endpoints.json_response import json_response
from gateway.endpoints.request_body import BodyReader
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord


async def inject_keys(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Accept the keys once. 409 afterwards; 400 for a malformed body or one sealed to another key, changing nothing.

    503 with the reason, changing nothing either, if the journal of the payments that it configures cannot be opened.
    A sealed bundle is answered with a signed ``receipt``: the host cannot have put another injection in its place.
    """
    async with BodyReader(services, request) as body:
        injection = services.keyring.check(services.sealing_key.unseal(body.json))
        try:
            await services.cluster.inject(injection)
        except StoreUnavailableError as error:
            raise payments_unavailable([str(error)]) from None
        answer = {
            "status": "ok",
            "providers_initialized": services.keyring.providers_in(injection),
            "heartbeat_enabled": (await services.cluster.heartbeat())["enabled"],
        }
        if "sealed" in body.json:
            answer["receipt"] = services.sealing_key.receipt(body.json["sealed"])
        return json_response(answer)


async def sealing_key(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """The key to seal an injection to, signed by the signing key.

    Public, because the operator who verifies the enclave need not be on its host.
    """
    return json_response(services.sealing_key.public_info)
