"""The route table: paths, methods and access."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from gateway.endpoints import chat, completions, heartbeat, keys, models, status
from gateway.endpoints.openapi import OpenAPI
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord

Endpoint = Callable[[Services, web.BaseRequest, RequestRecord], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path. ``local`` routes are restricted to this machine and the host link (design 4.6)."""

    path: str
    method: str
    endpoint: Endpoint
    local: bool = False
    methods: tuple[str, ...] = field(init=False)
    """The methods served: GET includes HEAD."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", ("GET", "HEAD") if self.method == "GET" else (self.method,))


ROUTES: tuple[Route, ...] = (
    Route("/health", "GET", status.health),
    Route("/health/ready", "GET", status.ready),
    Route("/signing-key", "GET", status.signing_key),
    Route("/heartbeat/status", "GET", heartbeat.heartbeat_status),
    Route("/openapi.json", "GET", OpenAPI(lambda: ROUTES)),
    Route("/metrics", "GET", status.metrics, local=True),
    Route("/v1/keys", "POST", keys.inject_keys, local=True),
    Route("/v1/keys/sealing-key", "GET", keys.sealing_key),
    Route("/v1/models", "GET", models.list_models),
    Route("/v1/models/{id}", "GET", models.get_model),
    Route("/v1/chat/completions", "POST", chat.chat_completions),
    Route("/v1/completions", "POST", completions.completions),
)

_EXACT = {route.path: route for route in ROUTES if "{" not in route.path}
_PREFIXES = tuple((route.path.partition("{")[0], route) for route in ROUTES if "{" in route.path)


def find(path: str) -> Route | None:
    """The route of ``path``, for any method."""
    route = _EXACT.get(path)
    if route is not None:
        return route
    return next((route for prefix, route in _PREFIXES if path.startswith(prefix) and path != prefix), None)
