"""`LocalFacilitator`: an x402 facilitator over HTTP whose verdicts and settlements are real, until told otherwise.

It serves x402 v2 (`/supported`, `/verify`, `/settle`; facts/x402.md 1.5), OpenGradient's dialect (`/settle/{jobId}`,
`/settle_data`, `/heartbeat`, `/health`; facts 2.3). `faults` and `jobs` make it misbehave.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from tools.chain.deployment import FACILITATOR
from tools.chain.faults import (
    Body,
    Drop,
    Endpoint,
    Fault,
    Faults,
    JobMode,
    SettlementFault,
    Slow,
    Status,
    Verdict,
    When,
)
from tools.chain.jobs import Jobs
from tools.chain.settler import PaymentBody, Settler, Signer

HOST = "127.0.0.1"
CONFIRMATION_SECONDS = 10.0

Answer = tuple[int, Any]
"""Status and JSON."""


@dataclass(slots=True)
class Call:
    """A request and what it was answered; `status` is None until then, and for ever when the connection was dropped."""

    endpoint: Endpoint
    headers: Mapping[str, str]
    """Names in lower case."""
    argument: str
    """The job id in the path, else empty."""
    body: Any
    faults: tuple[Fault, ...]
    status: int | None = None
    answer: Any = None


Work = Callable[[Call], Awaitable[Answer]]


class Heartbeat(msgspec.Struct, rename="camel"):
    """The body of /heartbeat; in JSON the signature is base64, and the timestamp may be a decimal string."""

    tee_id: str
    timestamp: int
    signature: bytes
    contract_address: str


@dataclass
class LocalFacilitator:
    """Serves while its `async with` lasts. Two on one chain need two keys, each with ether for gas."""

    rpc_url: str
    key: str = field(default=FACILITATOR.key, repr=False)
    confirmation_timeout: float = CONFIRMATION_SECONDS
    """Seconds after which a transaction without a receipt counts as pending."""
    jobs: JobMode | None = None
    """Set, /settle answers 202 and a job."""
    faults: Faults = field(default_factory=Faults)
    calls: list[Call] = field(default_factory=list, repr=False)
    url: str = ""

    async def __aenter__(self) -> Self:
        self._settler = await asyncio.to_thread(Settler, self.rpc_url, self.key, self.confirmation_timeout)
        self._queue = Jobs()
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.url = f"http://{HOST}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._queue.stop()
        await asyncio.to_thread(self._settler.close)

    @property
    def signer(self) -> Signer:
        """Its key on the chain, whose `confirmation_timeout` may be changed while it serves."""
        return self._settler.signer

    @property
    def address(self) -> str:
        """The account that pays for gas, and that payers of `upto` name in what they sign."""
        return str(self.signer.address)

    def called(self, endpoint: Endpoint) -> list[Call]:
        return [call for call in self.calls if call.endpoint == endpoint]

    def _application(self) -> web.Application:
        routes: tuple[tuple[str, str, Endpoint, Work], ...] = (
            ("GET", "/supported", "supported", self._supported),
            ("POST", "/verify", "verify", self._verify),
            ("POST", "/settle", "settle", self._settle),
            ("GET", "/settle/{argument}", "job", self._job),
            ("POST", "/settle_data", "settle_data", self._settle_data),
            ("POST", "/heartbeat", "heartbeat", self._heartbeat),
        )
        app = web.Application()
        for method, path, endpoint, work in routes:
            app.router.add_route(method, path, self._handler(endpoint, work))
        app.router.add_get("/health", _healthy)
        return app

    def _handler(self, endpoint: Endpoint, work: Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = Call(
                endpoint=endpoint,
                headers={name.lower(): value for name, value in request.headers.items()},
                argument=request.match_info.get("argument", ""),
                body=_parsed(await request.read()),
                faults=self.faults.take(endpoint),
            )
            self.calls.append(call)
            response = await _disturb(request, call, "before")
            if response is None:
                call.status, call.answer = await _guarded(work, call)
                response = await _disturb(request, call, "after") or web.json_response(call.answer, status=call.status)
            return response

        return handle

    async def _supported(self, _call: Call) -> Answer:
        return 200, self._settler.supported()

    async def _verify(self, call: Call) -> Answer:
        body = PaymentBody(call.body)
        fault = next((each for each in call.faults if isinstance(each, Verdict)), None)
        if fault is None:
            return 200, await self._settler.verify(body)
        reason = {} if fault.valid else {"invalidReason": "invalid_payload"}
        return 200, {"isValid": fault.valid, "payer": body.payer, **reason}

    async def _settle(self, call: Call) -> Answer:
        body = PaymentBody(call.body)
        fault = next((each for each in call.faults if isinstance(each, SettlementFault)), None)
        if self.jobs is None:
            return 200, await self._settler.settle(body, fault)
        job = self._queue.submit(self.jobs, lambda: self._settler.settle(body, fault))
        return 202, {"paymentJob": job.json()}

    async def _job(self, call: Call) -> Answer:
        job = self._queue.find(call.argument)
        if job is None:
            return 404, {"error": "Job not found"}
        wrapped = self.jobs is None or self.jobs.wrapped
        return 200, {"paymentJob": job.json()} if wrapped else job.json()

    async def _settle_data(self, call: Call) -> Answer:
        """Settlement data travels in headers; a private settlement leaves no job."""
        kind = call.headers.get("x-settlement-type", "")
        if kind == "private":
            return 202, {"settlementJob": None}
        if kind not in {"batch", "individual"}:
            raise ValueError(f"unknown x-settlement-type {kind!r}")
        _decode_settlement_data(call.headers.get("x-settlement-data", ""))
        return 202, {"settlementJob": {"jobId": f"settlement-{uuid.uuid4()}", "queue": kind, "status": "queued"}}

    async def _heartbeat(self, call: Call) -> Answer:
        """Relays to the registry on the chain."""
        beat = msgspec.convert(call.body, Heartbeat, strict=False)
        tee_id = bytes.fromhex(beat.tee_id.removeprefix("0x"))
        relayed = await self._settler.relay_heartbeat(beat.contract_address, tee_id, beat.timestamp, beat.signature)
        return 200 if relayed["success"] else 500, relayed


async def _disturb(request: web.Request, call: Call, when: When) -> web.Response | None:
    """Applies the transport faults of this moment; the response that one of them answers with."""
    for fault in call.faults:
        match fault:
            case Slow(seconds, moment) if moment == when:
                await asyncio.sleep(seconds)
            case Status(status, retry_after, moment) if moment == when:
                headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
                call.status = status
                return web.json_response({"error": "injected fault"}, status=status, headers=headers)
            case Drop(moment) if moment == when:
                call.status = None
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            case Body(text, moment) if moment == when:
                call.status = 200
                return web.Response(text=text)
    return None


async def _guarded(work: Work, call: Call) -> Answer:
    """Bad input is 400; anything else that goes wrong is 500 with `error`, as at the original."""
    try:
        return await work(call)
    except ValueError as error:
        return 400, {"error": str(error)}
    except Exception as error:  # the boundary of the server
        return 500, {"error": str(error)}


def _parsed(body: bytes) -> Any:
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")


def _decode_settlement_data(header: str) -> None:
    try:
        msgspec.json.decode(base64.b64decode(header, validate=True), type=dict[str, Any])
    except ValueError as error:
        raise ValueError(f"x-settlement-data is not base64 of a JSON object: {error}") from error


async def _healthy(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})
