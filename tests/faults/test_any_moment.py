"""Clients that leave at any moment of a paid request: before one callback of the event loop or another."""

import asyncio
import socket
from asyncio import events
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from gateway.billing.journal import PAID, UNFINISHED, Entry
from gateway.deferred_payments import DeferredPayments
from tests.money.paid_gateway import Json, chat, decode_header, read_journal, sign
from tests.running_gateway import RunningGateway, StartGateway
from tests.waiting import until
from tools.bench.facilitator import handle
from tools.chain.deployment import PAYEE
from tools.chain.wallet import Wallet
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import directive
from tools.soak.raw_client import RawClient, chat_request

STRIDE = 3
"""A request has about a hundred callbacks, of which the tests take every third."""
SLOWLY = directive({"text": "word " * 6, "event_delay": 0.002})


class Moment:
    """Calls ``action`` once, before the ``number``-th callback of the event loop from ``arm`` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        self._action: Callable[[], object] = lambda: None
        run = events.Handle._run

        def counted(handle: events.Handle) -> None:
            self.left -= 1
            if self.left == 0:
                self._action()
            if not handle.cancelled():
                run(handle)

        monkeypatch.setattr(events.Handle, "_run", counted)

    def arm(self, number: int, action: Callable[[], object]) -> None:
        self.left, self._action = number, action

    def disarm(self) -> bool:
        """Whether the moment has come."""
        came, self.left = self.left <= 0, 0
        return came


@asynccontextmanager
async def facilitator(settled: Counter[int]) -> AsyncIterator[str]:
    """The URL of one that accepts every payment; ``settled`` counts its settlements by nonce."""

    async def count(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/settle":
            settled[nonce_of(msgspec.json.decode(await request.read())["paymentPayload"])] += 1
        return await handle(request)

    server = await asyncio.get_running_loop().create_server(web.Server(count, access_log=None), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def leave(client: RawClient) -> None:
    with suppress(OSError):  # the gateway has closed the connection
        client.socket.shutdown(socket.SHUT_RDWR)


def nonce_of(payment: Json) -> int:
    payload = payment["payload"]
    return int((payload.get("permit2Authorization") or payload["authorization"])["nonce"], 0)


def busy(gateway: RunningGateway) -> bool:
    """Whether anything of a request is left."""
    services, payments = gateway.services, gateway.services.payments
    inner = payments._payments  # type: ignore[attr-defined]
    assert isinstance(inner, DeferredPayments)
    connections = sum(upstream.transport.open_connections for upstream in services.upstreams.values())
    tasks = sum(each.settlements.task_count for each in inner._opened)
    return bool(services.admission.active or services.streams or connections or tasks)


@pytest.mark.parametrize(("stream", "scheme"), [(False, "upto"), (True, "upto"), (True, "exact")])
async def test_leaving_at_any_moment(
    start_gateway: StartGateway,
    fleet: Fleet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stream: bool,
    scheme: str,
) -> None:
    """Every payment ends, is settled once or not at all, and covers an answer that was received whole.

    Each is another payer's: none has credit for an answer that it has left.
    """
    settled: Counter[int] = Counter()
    journal, moment, number, came = tmp_path / "journal.sqlite3", Moment(monkeypatch), 1, True
    async with facilitator(settled) as url:
        gateway = await start_gateway(
            {
                **fleet.environment(),
                "GATEWAY_PAYMENTS": "required",
                "EVM_PAYMENT_ADDRESS": PAYEE.address,
                "FACILITATOR_URL": url,
                "GATEWAY_PRICE_URL": url,
                "GATEWAY_JOURNAL": str(journal),
            }
        )
        body = chat(SLOWLY, stream=stream)
        unpaid = await gateway.post("/v1/chat/completions", body)
        required = decode_header(unpaid.headers["PAYMENT-REQUIRED"])
        while came:
            signature = await sign(Wallet(), required, scheme=scheme)
            async with RawClient(gateway.url) as client:
                moment.arm(number, partial(leave, client))
                await client.send(chat_request(body, f"PAYMENT-SIGNATURE: {signature}", "Connection: close"))
                received = await client.read_all()
                came = moment.disarm()
            await until(lambda: not busy(gateway))
            nonce = nonce_of(decode_header(signature))
            check(await entry_of(journal, nonce), settled[nonce], received)
            number += STRIDE
    assert settled[nonce] == 1, "the last client has not left"
    assert not [
        record for record in caplog.records if record.name.startswith("gateway") and record.levelname == "ERROR"
    ]


async def entry_of(journal: Path, nonce: int) -> Entry | None:
    """The payment once it has ended; None if it was never claimed."""

    def find() -> Entry | None:
        return next((entry for entry in read_journal(journal) if int.from_bytes(entry.nonce) == nonce), None)

    async with asyncio.timeout(20):
        while (entry := await asyncio.to_thread(find)) is not None and entry.state in UNFINISHED:
            await asyncio.sleep(0.02)
    return entry


def check(entry: Entry | None, settlements: int, received: bytes) -> None:
    whole = received.startswith(b"HTTP/1.1 200") and received.endswith((b"data: [DONE]\n\n\r\n0\r\n\r\n", b"}"))
    paid = entry is not None and entry.state in PAID
    assert settlements == paid
    assert paid or not whole
    assert entry is None or not (whole and entry.credited)
