"""A gateway between a caller and the simulated vendors, and everything that can be seen of one request."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp

from gateway.billing.pricing import cost
from gateway.catalog import Catalog
from gateway.composition import compose
from gateway.identity import Identity
from gateway.listeners import Audience, Listener
from gateway.openai_api.usage import Usage
from gateway.server import GatewayServer
from gateway.services import Services
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Attachment, Chat
from gateway.upstreams.fetch import FileFetcher
from gateway.upstreams.transport import Limits
from tests.conformance.folding import folded
from tests.running_gateway import FAST
from tools.simulators import Fleet, ReceivedRequest, Simulator
from tools.simulators.sample_images import png
from tools.verify.claims import Claim, Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import SigningKey, load_signing_key

PICTURE = png(0x336699)
CHAT = "/v1/chat/completions"


class OnePicture(FileFetcher):
    """Finds the same picture behind every URL; how files are really fetched is tests/upstreams/test_fetch.py."""

    async def attach(self, chat: Chat, urls: Iterable[str]) -> int:
        chat.attachments.update({url: Attachment("image/png", PICTURE) for url in urls})
        return 0


@dataclass(frozen=True)
class Exchange:
    """One answer as the caller got it. ``claims`` are the verdicts of ``tools.verify`` on it."""

    request: Mapping[str, Any]
    status: int
    headers: Mapping[str, str]
    raw: bytes
    claims: list[Claim]

    @property
    def error(self) -> dict[str, Any]:
        """The error object of the body, or of the event that ended the stream."""
        last = self.raw.strip().rpartition(b"\n")[2].removeprefix(b"data: ")
        error: dict[str, Any] = json.loads(last)["error"]
        return error

    @property
    def answer(self) -> dict[str, Any]:
        """The answer's object; that of a stream is put together from its events."""
        if self.headers["Content-Type"].startswith("text/event-stream"):
            return folded(self.raw)
        answer: dict[str, Any] = json.loads(self.raw)
        return answer

    @property
    def choice(self) -> dict[str, Any]:
        """The only choice."""
        [choice] = self.answer["choices"]
        assert isinstance(choice, dict)
        return choice

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = self.choice["message"]
        return message


class _Records(logging.Handler):
    """Keeps the request log."""

    def __init__(self) -> None:
        super().__init__()
        self.last: deque[RequestRecord] = deque(maxlen=64)

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, RequestRecord):
            self.last.append(record.msg)


@dataclass
class Harness:
    """``fleet`` plays the vendors, ``services`` is the inside of the gateway, ``url`` its outside."""

    url: str
    services: Services
    fleet: Fleet
    session: aiohttp.ClientSession
    key: SigningKey
    records: _Records = field(repr=False)

    def simulator(self, model: str) -> Simulator:
        """Who plays the vendor of ``model``."""
        return self.fleet.simulators[self.services.catalog.find(model).provider]

    def received(self, model: str) -> ReceivedRequest:
        """The last request that the vendor of ``model`` got."""
        return self.simulator(model).requests[-1]

    async def ask(self, request: Mapping[str, Any], path: str = CHAT, **headers: str) -> Exchange:
        """Send one request and read all that comes back, broken off or not."""
        async with self.session.post(self.url + path, json=request, headers=headers) as response:
            raw = await _read_all(response)
        return Exchange(request, response.status, response.headers, raw, verify_response(self.key, request, raw))

    async def record(self, exchange: Exchange) -> RequestRecord:
        """The log's entry of ``exchange``, which is written just after the answer."""
        wanted = exchange.headers["x-request-id"]
        for _ in range(200):
            for record in reversed(self.records.last):
                if record.id == wanted:
                    return record
            await asyncio.sleep(0.01)
        raise AssertionError(f"request {wanted} is not in the log")


async def _read_all(response: aiohttp.ClientResponse) -> bytes:
    pieces = []
    try:
        async for piece in response.content.iter_any():
            pieces.append(piece)  # noqa: PERF401 - what arrived before the connection broke counts
    except aiohttp.ClientPayloadError:
        assert b'"error"' in b"".join(pieces), "a stream broke off without an error event"
    return b"".join(pieces)


@asynccontextmanager
async def open_harness(signer: Signer, catalog: Catalog, limits: Limits = FAST) -> AsyncIterator[Harness]:
    """Vendors, gateway and caller on real sockets; payments off, retired models served."""
    records, log = _Records(), logging.getLogger("gateway.requests")
    level = log.level
    async with Fleet(serve_retired=True) as fleet, aiohttp.ClientSession() as session:
        variables = {"API_SERVER_HOST": "127.0.0.1", "GATEWAY_PAYMENTS": "off", **fleet.environment()}
        settings = Settings.from_environment(variables, catalog.providers, enclave=False)
        async with compose(settings, catalog=catalog, identity=Identity.generate(signer), limits=limits) as services:
            services.fetcher = OnePicture(enabled=True)
            server = GatewayServer(services)
            [(host, port)] = await server.start([Listener("127.0.0.1", 0, Audience.LOCAL)])
            log.addHandler(records)
            log.setLevel(logging.INFO)
            try:
                key = load_signing_key(signer.public_pem.encode())
                yield Harness(f"http://{host}:{port}", services, fleet, session, key, records)
            finally:
                log.setLevel(level)
                log.removeHandler(records)
                await server.drain(2.0)


def check_proof(exchange: Exchange) -> None:
    assert {claim.verdict for claim in exchange.claims} == {Verdict.PASS}, exchange.claims


def price(harness: Harness, model: str, answer: dict[str, Any]) -> Decimal:
    """The catalogue's price of the reported usage."""
    usage = answer["usage"]
    prompt, completion = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    counted = Usage(
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        cached_tokens=prompt["cached_tokens"],
        cache_write_tokens=prompt.get("cache_write_tokens", 0),
        audio_tokens=prompt["audio_tokens"],
        reasoning_tokens=completion["reasoning_tokens"],
        image_tokens=completion.get("image_tokens", 0),
        images=sum(len(choice["message"].get("images", ())) for choice in answer["choices"]),
    )
    return cost(harness.services.catalog.find(model), counted, datetime.now(UTC).date())
