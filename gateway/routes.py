"""The route table: paths, methods and access."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.endpoints import chat, completions, keys, models, status
from gateway.endpoints.openapi import OpenAPI
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord

Endpoint = Callable[[Services, web.BaseRequest, RequestRecord], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path. ``local`` routes are restricted to this machine and the host link (design 4.6)."""

    path: str
    methods: tuple[str, ...]
    endpoint: Endpoint
    local: bool = False


_GET, _POST = ("GET", "HEAD"), ("POST",)
ROUTES: tuple[Route, ...] = (
    Route("/health", _GET, status.health),
    Route("/health/ready", _GET, status.ready),
    Route("/signing-key", _GET, status.signing_key),
    Route("/heartbeat/status", _GET, status.heartbeat),
    Route("/openapi.json", _GET, OpenAPI(lambda: ROUTES)),
    Route("/metrics", _GET, status.metrics, local=True),
    Route("/v1/keys", _POST, keys.inject_keys, local=True),
    Route("/v1/keys/sealing-key", _GET, keys.sealing_key),
    Route("/v1/models", _GET, models.list_models),
    Route("/v1/models/{id}", _GET, models.get_model),
    Route("/v1/chat/completions", _POST, chat.chat_completions),
    Route("/v1/completions", _POST, completions.completions),
)

_EXACT = {route.path: route for route in ROUTES if "{" not in route.path}
_PREFIXES = tuple((route.path.partition("{")[0], route) for route in ROUTES if "{" in route.path)


def find(path: str) -> Route | None:
    """The route of ``path``, for any method."""
    route = _EXACT.get(path)
    if route is not None:
        return route
    return next((route for prefix, route in _PREFIXES if path.startswith(prefix) and path != prefix), None)
