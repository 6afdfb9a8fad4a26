"""``GET /openapi.json``, generated from the route table and the request types."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Protocol

import msgspec
from aiohttp import web

from gateway import __version__
from gateway.billing.x402 import PAYMENT_REQUIRED
from gateway.keyring import Injection
from gateway.openai_api.completion import CompletionRequest
from gateway.openai_api.request import ChatRequest
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord

_BODIES = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/keys": Injection,
}
_ANSWERS = frozenset({"/v1/chat/completions", "/v1/completions"})
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_SEALED = {
    "type": "object",
    "required": ["sealed"],
    "properties": {"sealed": {"type": "string"}},
    "additionalProperties": False,
}
_OBJECT = {"application/json": {"schema": {"type": "object"}}}
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_OFFERS = {
    "description": "Payment required, where payments are on: the offers are in the header (x402 v2)",
    "headers": {PAYMENT_REQUIRED: {"schema": {"type": "string", "contentEncoding": "base64"}}},
    "content": _ERROR,
}


class Operation(Protocol):
    """A route, as far as the document describes it."""

    @property
    def path(self) -> str: ...

    @property
    def methods(self) -> Sequence[str]: ...

    @property
    def endpoint(self) -> Callable[..., Any]: ...


class OpenAPI:
    """The OpenAPI 3.1 document of this gateway.

    ``routes`` gives the route table, which is only known once all endpoints are.
    """

    def __init__(self, routes: Callable[[], Iterable[Operation]]) -> None:
        self._document = cache(lambda: document(routes()))

    async def __call__(self, services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
        return web.Response(body=self._document(), content_type="application/json")


def document(routes: Iterable[Operation]) -> bytes:
    """The OpenAPI document of ``routes``, as JSON."""
    schemas, components = msgspec.json.schema_components(_BODIES.values(), ref_template="#/components/schemas/{name}")
    for body in _BODIES.values():
        components[body.__name__]["additionalProperties"] = False
    components[Injection.__name__]["minProperties"] = 1
    bodies = dict(zip(_BODIES, schemas, strict=True))
    bodies["/v1/keys"] = {"oneOf": [bodies["/v1/keys"], _SEALED]}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route.path, route.endpoint.__doc__ or "", bodies.get(route.path))
        paths.setdefault(route.path, {})[route.methods[0].lower()] = operation
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "TEE gateway", "version": __version__},
            "paths": paths,
            "components": {"schemas": components | {"Error": _ERROR_SCHEMA}},
        }
    )


def _operation(path: str, text: str, body: dict[str, Any] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"text/plain": {}} if path == "/metrics" else dict(_OBJECT)
    responses: dict[str, Any] = {
        "200": {"description": "The answer", "content": answer},
        "default": {"description": "OpenAI's error envelope", "content": _ERROR},
    }
    if path in _ANSWERS:
        answer["text/event-stream"] = {}
        responses["402"] = _OFFERS
    elif path == "/health/ready":
        responses["503"] = {"description": "Not ready, with the reasons", "content": _OBJECT}
    operation: dict[str, Any] = {"summary": text.partition("\n")[0], "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if "{id}" in path:
        operation["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation
