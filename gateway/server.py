"""The gateway's HTTP server: routes requests, sends all errors in OpenAI's envelope, logs, drains."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from gateway.endpoints.serving import RESPONSE_HEADERS
from gateway.http_server import file_descriptors
from gateway.http_server.connection import ServerConnection
from gateway.http_server.server import HttpServer
from gateway.identifiers import new_id
from gateway.listeners import BACKLOG, Audience, Listener, bind, check_local
from gateway.openai_api.errors import GatewayError, internal_error, shutting_down
from gateway.openai_api.stream import error_event
from gateway.routes import Route, find
from gateway.services import Services
from gateway.telemetry.request_log import log_request
from gateway.telemetry.request_record import RequestRecord

DRAIN_GRACE_SECONDS = 10.0
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": (
        "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-TEE-Signature, X-TEE-ID, X-TEE-Timestamp, X-TEE-Request-Hash, "
        "X-TEE-Output-Hash, x-request-id, x-upstream-request-id, x-dropped-params, x-output-limit, x-should-retry, "
        "Retry-After, retry-after-ms"
    ),
}
_PREFLIGHT = {
    **_CORS,
    "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, PAYMENT-SIGNATURE, X-SETTLEMENT-TYPE, OpenAI-Organization, OpenAI-Project, "
        "X-Stainless-Arch, X-Stainless-Lang, X-Stainless-OS, X-Stainless-Package-Version, X-Stainless-Retry-Count, "
        "X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Timeout, X-Stainless-Helper-Method, "
        "Access-Control-Expose-Headers, *"
    ),
    "Access-Control-Max-Age": "86400",
}
log = logging.getLogger(__name__)


class GatewayServer:
    """Serves requests on one or more listeners until drained."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runners: list[web.ServerRunner] = []

    async def start(self, listeners: Sequence[Listener]) -> list[tuple[str, int]]:
        """Bind the listeners; return the bound addresses (port 0 lets the system choose)."""
        bound: list[tuple[str, int]] = []
        for listener in listeners:
            runner = await self._start_runner(listener.audience)
            for listening in bind(listener):
                await web.SockSite(runner, listening, backlog=BACKLOG).start()
            bound += [(address[0], address[1]) for address in runner.addresses]
        return bound

    async def serve_accepted(self, audiences: Sequence[Audience]) -> Callable[[int, socket.socket], None]:
        """Serve connections accepted elsewhere; the returned function takes the index of an audience and a socket."""
        loop = asyncio.get_running_loop()
        runners = [await self._start_runner(audience) for audience in audiences]
        connecting: set[asyncio.Task[Any]] = set()

        def connect(number: int, connection: socket.socket) -> None:
            server = runners[number].server
            task = loop.create_task(loop.connect_accepted_socket(lambda: _new_protocol(server), connection))
            connecting.add(task)
            task.add_done_callback(connecting.discard)

        return connect

    async def _start_runner(self, audience: Audience) -> web.ServerRunner:
        handler = _Handler(self._services, audience)
        http = HttpServer(handler.handle, handler.record_protocol_error, file_descriptors.max_client_connections())
        runner = web.ServerRunner(http, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def drain(self, seconds: float, on_closing: Callable[[], None] = lambda: None) -> None:
        """Refuse new work, wait up to ``seconds`` for requests in flight, end the remaining streams, close.

        Meanwhile connections are still accepted and new work is answered with 503. Requests still in flight then lose
        their upstream connections; what was delivered of their answers is settled. ``on_closing`` is called before the
        clients' connections are closed.
        """
        self._services.draining = True
        await self._wait_idle(seconds)
        for reply in list(self._services.streams):
            reply.expire(error_event(shutting_down().envelope()))
        await self._wait_idle(DRAIN_GRACE_SECONDS)
        if self._services.admission.active:
            for upstream in self._services.upstreams.values():
                await upstream.transport.close()
            await self._wait_idle(DRAIN_GRACE_SECONDS)
        on_closing()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _wait_idle(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._services.admission.wait_idle()


class _Handler:
    """Handles the requests of one listener: routes them to their endpoints, and turns errors into responses."""

    def __init__(self, services: Services, audience: Audience) -> None:
        self._services = services
        self._audience = audience

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The aiohttp handler: answers, counts and logs one request, whatever happens.

        While its connection has pipelined requests, it yields to other connections first.
        """
        if request._protocol._messages:
            await asyncio.sleep(0)
        record = RequestRecord(f"req_{new_id()}", request.method, "unknown")
        request[RESPONSE_HEADERS] = headers = {"x-request-id": record.id, "Server": "tee-gateway"}
        if "Origin" in request.headers:
            headers.update(_CORS)
        if self._services.tracer is not None:
            record.traceparent = request.headers.get("traceparent")
        try:
            response = await self._respond(request, record)
            record.status = response.status
            if not response.prepared:
                response.headers.update(headers)
                if self._services.draining:
                    response.force_close()
            return response
        finally:
            self._finish(record)

    async def _respond(self, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
        """The response of the endpoint, or one that tells its error."""
        try:
            return await self._route(request, record)
        except GatewayError as error:
            response = self._error_response(error, record)
            if "Expect" in request.headers and not request.content.is_eof():
                response.force_close()  # the client need not send the body, so the next bytes may be anything
            return response
        except (ConnectionError, asyncio.CancelledError):
            record.client_left = True
            raise
        except Exception:
            log.exception("unhandled error in request %s", record.id)
            return self._error_response(internal_error(), record)

    async def _route(self, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
        if request.version.major != 1:
            raise GatewayError("Only HTTP/1.1 is supported", status=505, code="http_version_not_supported")
        route = find(request.path)
        if route is not None:
            record.path = route.path
        if route is not None and route.local:
            check_local(request, self._audience)
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=_PREFLIGHT)
        if route is None:
            raise GatewayError(f"Invalid URL ({request.method} {request.path[:128]})", status=404, code="not_found")
        if request.method not in route.methods:
            raise _method_not_allowed(request, route)
        return await route.endpoint(self._services, request, record)

    def _error_response(self, error: GatewayError, record: RequestRecord) -> web.Response:
        self._services.metrics.count_failure(record, error)
        return web.Response(
            status=error.status, body=error.body(), headers=error.http_headers(), content_type="application/json"
        )

    def record_protocol_error(self, error: GatewayError) -> str:
        """Count and log a request that reaches no handler, such as invalid HTTP; return its id."""
        record = RequestRecord(f"req_{new_id()}", "unknown", "unknown", error.status)
        self._services.metrics.count_failure(record, error)
        self._finish(record)
        return record.id

    def _finish(self, record: RequestRecord) -> None:
        self._services.metrics.count_request(record)
        if self._services.tracer is not None:
            self._services.tracer.record(record)
        log_request(record)


def _new_protocol(server: web.Server | None) -> ServerConnection:
    if not isinstance(server, HttpServer):
        raise ConnectionResetError("the server is closed")
    return server()


def _method_not_allowed(request: web.BaseRequest, route: Route) -> GatewayError:
    return GatewayError(
        f"Not allowed to {request.method} on {route.path}",
        status=405,
        code="method_not_allowed",
        headers={"Allow": ", ".join((*route.methods, "OPTIONS"))},
    )
