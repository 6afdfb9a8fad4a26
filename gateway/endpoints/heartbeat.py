"""``GET /heartbeat/status``: the state of the registry heartbeat."""

from aiohttp import web

from gateway.endpoints.json_response import json_response
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord


async def heartbeat_status(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """The registry heartbeat's state; 200 even if no heartbeat is configured."""
    return json_response(await services.cluster.heartbeat())
