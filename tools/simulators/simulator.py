"""Serves a vendor on a socket: records requests, selects the scenario, and sends the vendor's reply."""

import asyncio
import hashlib
import time
from collections import deque
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from tools.simulators.delivery import Reply, deliver
from tools.simulators.identifiers import Identifiers
from tools.simulators.received import ReceivedRequest
from tools.simulators.refusal import RefusedError
from tools.simulators.scenario import DEFAULT, Scenario, ScenarioError, from_directive
from tools.simulators.vendor import Exchange, Vendor

MAX_BODY = 64 * 2**20
CACHED_REPLIES = 512
CACHED_BODY = 64 * 2**10


class _Server(web.Server):
    """Counts connections."""

    opened = 0

    def __call__(self) -> Any:
        self.opened += 1
        return super().__call__()


class Simulator:
    """Serves one vendor on 127.0.0.1 at a free port, between `start` and `stop`.

    A request is answered with the next enqueued scenario, else with the one in its prompt after `@sim `, else with
    `default`. The last `keep` requests are recorded. `serve_retired` enables models that the vendor has switched off.
    """

    def __init__(self, vendor: Vendor, *, keep: int = 1000, serve_retired: bool = False) -> None:
        self.vendor = vendor
        self.serve_retired = serve_retired
        self.requests: deque[ReceivedRequest] = deque(maxlen=keep)
        self.request_count = 0
        self.abort_count = 0
        self._default = DEFAULT
        self._queue: deque[Scenario] = deque()
        self._replies: dict[tuple[str | bytes | None, ...], Reply] = {}
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None
        self._stopping = False

    @property
    def default(self) -> Scenario:
        return self._default

    @default.setter
    def default(self, scenario: Scenario) -> None:
        self._default = scenario
        self._replies.clear()

    @property
    def name(self) -> str:
        return self.vendor.name

    @property
    def origin(self) -> str:
        assert self._listener is not None, "the simulator is not running"  # noqa: S101
        return f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    @property
    def base_url(self) -> str:
        """The base URL for the vendor's SDK."""
        return self.origin + self.vendor.base_path

    @property
    def open_connections(self) -> int:
        return len(self._server.connections) if self._server else 0

    @property
    def connection_count(self) -> int:
        """Number of connections accepted so far."""
        return self._server.opened if self._server else 0

    @property
    def aborted(self) -> list[ReceivedRequest]:
        """The recorded requests whose client disconnected before the end of the response."""
        return [received for received in self.requests if received.aborted_at is not None]

    def enqueue(self, *scenarios: Scenario) -> None:
        """Answer the next requests with these scenarios, one each."""
        self._queue.extend(scenarios)

    def reset(self) -> None:
        """Clear requests, scenarios and counts."""
        self.requests.clear()
        self._queue.clear()
        self.default = DEFAULT
        self.request_count = self.abort_count = 0

    async def start(self) -> None:
        self._server = _Server(
            self._handle,
            request_factory=_request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=75.0,
            max_line_size=32 * 2**10,
            max_field_size=64 * 2**10,
        )
        self._listener = await asyncio.get_running_loop().create_server(self._server, "127.0.0.1", 0, backlog=1024)

    async def stop(self) -> None:
        self._stopping = True
        if self._listener is not None and self._server is not None:
            self._listener.close()
            self._server.pre_shutdown()
            await self._server.shutdown(0.05)
            await self._listener.wait_closed()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        received = ReceivedRequest(request.method, request.path_qs, request.headers, body, time.monotonic())
        self.requests.append(received)
        self.request_count += 1
        reply = self.respond(received)
        received.status = reply.status
        try:
            response = await deliver(request, reply, received)
        except (asyncio.CancelledError, ConnectionError):
            if not self._stopping:
                received.aborted_at = time.monotonic()
                self.abort_count += 1
            raise
        received.finished_at = time.monotonic()
        return response

    def respond(self, received: ReceivedRequest) -> Reply:
        """The reply to a request; no I/O."""
        if self._queue and received.method == "POST":
            return self._compute(received, self._queue.popleft())
        key = (received.target, received.body, *map(received.headers.get, _CACHE_KEY_HEADERS))
        if (known := self._replies.get(key)) is not None:
            return known
        reply = self._compute(received, None)
        if reply.status == 200 and len(received.body) <= CACHED_BODY:
            if len(self._replies) >= CACHED_REPLIES:
                self._replies.clear()
            self._replies[key] = reply
        return reply

    def _compute(self, received: ReceivedRequest, scenario: Scenario | None) -> Reply:
        salt = b"" if scenario is None else str(self.request_count).encode()
        ids = Identifiers(hashlib.blake2b(received.target.encode() + received.body + salt).digest())
        exchange = Exchange(
            received=received, body=None, scenario=scenario or DEFAULT, ids=ids, serve_retired=self.serve_retired
        )
        try:
            exchange = self._prepare(exchange, scenario)
            if exchange.scenario.raw is not None:
                return _raw(exchange.scenario)
            return self._answer(exchange)
        except RefusedError as refused:
            return self.vendor.error(refused, exchange)

    def _prepare(self, exchange: Exchange, scenario: Scenario | None) -> Exchange:
        """Decode the body, if it is JSON, and select the scenario."""
        endpoint = self.vendor.endpoint(exchange.received)
        body = None
        if endpoint is not None and endpoint.method == "POST":
            try:
                body = exchange.received.json
            except msgspec.DecodeError:
                body = None
        if scenario is None and endpoint is not None:
            try:
                scenario = from_directive(endpoint.last_user_text(body))
            except ScenarioError as error:
                raise RefusedError(f"simulator: {error}") from None
        return replace(exchange, body=body, scenario=scenario or self.default)

    def _answer(self, exchange: Exchange) -> Reply:
        endpoint = self.vendor.endpoint(exchange.received)
        if endpoint is None:
            raise RefusedError(f"Unknown request URL: {exchange.received.method} {exchange.received.path}", status=404)
        if exchange.received.method != endpoint.method:
            raise RefusedError(f"Not allowed to {exchange.received.method} on {exchange.received.path}", status=405)
        if not endpoint.public:
            self.vendor.authenticate(exchange.received)
        if endpoint.method == "POST" and not isinstance(exchange.body, dict):
            raise RefusedError("We could not parse the JSON body of your request.")
        return endpoint.answer(exchange)


_CACHE_KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "anthropic-version", "content-type")


def _raw(scenario: Scenario) -> Reply:
    """A recorded reply without its hop-by-hop headers, which this server sets itself."""
    raw = scenario.raw
    assert raw is not None  # noqa: S101
    dropped = {"transfer-encoding", "content-length", "connection", "date"}
    return Reply(
        status=raw.status,
        headers=tuple((name, value) for name, value in raw.headers if name.lower() not in dropped),
        events=raw.chunks,
        stream=True,
        scenario=scenario,
    ).with_content_faults(None, end_marker=False)


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)
