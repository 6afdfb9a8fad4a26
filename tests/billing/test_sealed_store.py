"""Entries kept sealed on a host that is not trusted, and what a new enclave makes of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.billing.claims import AlreadyClaimedError, PayerOwesError
from gateway.billing.journal import State, encode_entry
from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.payments import X402Payments
from gateway.billing.storage.records import RecordCipher, encode_frame
from gateway.billing.storage.sealed_store import SealedStore
from gateway.billing.storage.sink import FileSink, FrameDecoder, HttpSink, Sink, SinkUnavailableError
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import StoreUnavailableError
from tests.billing.entries import FUNDED, entry
from tests.billing.harness import CATALOG, bill, open_harness, order, quick, refusal
from tests.waiting import until_answer
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Drop
from tools.chain.local_chain import LocalChain

KEY = b"j" * 32


class Host:
    """The receiving end on the host: keeps what it gets."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.body = b""
        self.status = 204

    async def append(self, request: web.Request) -> web.Response:
        self.records.append(await request.read())
        return web.Response(status=self.status)

    async def read(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.body or b"".join(map(encode_frame, self.records)))


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def url(host: Host) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/journal", host.append)
    app.router.add_get("/journal", host.read)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/journal"
    await runner.cleanup()


@pytest.fixture(params=["http", "file"])
async def sink(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> AsyncIterator[Sink]:
    async with aiohttp.ClientSession() as session:
        yield HttpSink(session, url) if request.param == "http" else FileSink(tmp_path / "sink")


async def records(sink: Sink) -> list[bytes]:
    return [record async for record in sink.records()]


async def test_a_sink_keeps_records_in_order(sink: Sink) -> None:
    assert await records(sink) == []
    for record in (b"one", b"", b"\0" * 5000):
        await sink.append(record)
    assert await records(sink) == [b"one", b"", b"\0" * 5000]


async def test_a_record_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "sink")
    await sink.append(b"whole")
    with (tmp_path / "sink").open("ab") as file:
        file.write(encode_frame(b"torn off")[:-3])
    assert await records(sink) == [b"whole"]
    await sink.append(b"after")
    await FileSink(tmp_path / "sink").append(b"from another process")
    await sink.append(b"and again")
    assert await records(sink) == [b"whole", b"after", b"from another process", b"and again"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_frames_in_pieces_of_any_size(size: int) -> None:
    expected = [b"", b"one", b"\0" * 300]
    stream = b"".join(map(encode_frame, expected)) + b"\0\0\0\4cut"
    frames = FrameDecoder()
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [record for piece in pieces for record in frames.feed(piece)] == expected


async def test_a_sink_that_answers_something_else(url: str, host: Host) -> None:
    host.body = b"<html>" * 1000
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SinkUnavailableError, match="data other than records"):
            await records(HttpSink(session, url))


@pytest.mark.parametrize(("lost", "kept"), [(1, True), (2, False)])
async def test_a_kept_connection_that_is_gone_is_not_a_lost_record(lost: int, kept: bool) -> None:
    taken: list[bytes] = []

    async def append(request: web.Request) -> web.Response:
        taken.append(await request.read())
        if len(taken) <= lost:
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", append)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        sink = HttpSink(session, str(server.make_url("/")))
        with nullcontext() if kept else pytest.raises(SinkUnavailableError):
            await sink.append(b"record")
    assert taken == [b"record"] * 2


async def test_an_answer_that_breaks_off_is_not_the_journal() -> None:
    async def half(_request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(_request)
        await response.write(encode_frame(b"first"))
        assert _request.transport is not None
        _request.transport.close()
        return response

    app = web.Application()
    app.router.add_get("/", half)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with pytest.raises(SinkUnavailableError, match="cannot be reached"):
            await records(HttpSink(session, str(server.make_url("/"))))


def test_a_seal_hides_binds_and_differs() -> None:
    cipher = RecordCipher(KEY)
    record = cipher.encrypt(b"payer and amount")
    assert b"payer" not in record
    assert record != cipher.encrypt(b"payer and amount")
    assert cipher.decrypt(record) == b"payer and amount"
    assert RecordCipher(b"x" * 32).decrypt(record) is None
    for broken in (b"", record[:11], record[:-1], record[:20] + bytes([record[20] ^ 1]) + record[21:]):
        assert cipher.decrypt(broken) is None
    with pytest.raises(ValueError, match="32 bytes"):
        RecordCipher(b"short")


async def test_a_new_enclave_finds_what_the_last_one_left(sink: Sink, tmp_path: Path) -> None:
    first = SealedStore(await SqliteStore.open(tmp_path / "first.db"), sink, KEY)
    settling, waived, settled, reserved = entry(), entry(), entry(), entry()
    for payment in (settling, waived, settled, reserved):
        await first.claim(payment, FUNDED)
    for payment in (settling, waived, settled):
        await first.move(payment, State.VERIFIED, State.SERVING)
    await first.move(settling, State.SETTLING, amount=77)
    await first.move(waived, State.WAIVED)
    await first.move(settled, State.SETTLING)
    await first.move(settled, State.SETTLED)
    await first.close()
    await sink.append(b"not sealed")
    await sink.append(RecordCipher(KEY).encrypt(b"{}"))
    await sink.append(RecordCipher(b"x" * 32).encrypt(encode_entry(entry(state=State.SETTLING))))

    second = SealedStore(await SqliteStore.open(tmp_path / "second.db"), sink, KEY)
    assert await second.replay(time.time() - 3600) == 3
    adopted = await second.adopt(time.time())
    assert [(each.key, each.state, each.amount) for each in adopted] == [(settling.key, State.SETTLING, 77)]
    for payment in (waived, settled, settling):
        with pytest.raises(AlreadyClaimedError):
            await second.claim(payment, FUNDED)
    await second.claim(reserved, FUNDED)
    await second.close()


async def test_a_new_enclave_knows_who_did_not_pay_the_last_one(sink: Sink, tmp_path: Path) -> None:
    first = SealedStore(await SqliteStore.open(tmp_path / "first.db"), sink, KEY)
    payment = entry()
    await first.claim(payment, FUNDED)
    await first.move(payment, State.VERIFIED, State.SERVING, State.SETTLING, amount=10**19)
    await first.move(payment, State.FAILED, payers_fault=True)
    await first.close()
    second = SealedStore(await SqliteStore.open(tmp_path / "second.db"), sink, KEY)
    await second.replay(time.time() - 3600)
    with pytest.raises(PayerOwesError):
        await second.claim(entry(), FUNDED)
    await second.claim(entry(upfront=True), FUNDED)
    await second.close()


async def test_old_payments_are_not_replayed_and_order_does_not_matter(host: Host, url: str, tmp_path: Path) -> None:
    cipher, payment = RecordCipher(KEY), entry(state=State.SERVING)
    later = msgspec.structs.replace(payment, state=State.WAIVED, updated=payment.updated + 1)
    old = entry(state=State.SERVING, deadline=int(time.time()) - 7200)
    host.records = [cipher.encrypt(encode_entry(each)) for each in (later, payment, old)]
    async with aiohttp.ClientSession() as session:
        store = SealedStore(await SqliteStore.open(tmp_path / "journal.db"), HttpSink(session, url), KEY)
        assert await store.replay(time.time() - 3600) == 1
        assert await store.adopt(time.time()) == []
        await store.close()


async def test_a_clock_that_steps_back_makes_no_settlement_undone(host: Host, url: str, tmp_path: Path) -> None:
    cipher, payment = RecordCipher(KEY), entry(state=State.SERVING)
    settling = msgspec.structs.replace(payment, state=State.SETTLING, amount=7, updated=payment.updated - 60)
    pending = msgspec.structs.replace(settling, state=State.PENDING, job="42", updated=payment.updated - 90)
    host.records = [cipher.encrypt(encode_entry(each)) for each in (payment, settling, pending)]
    async with aiohttp.ClientSession() as session:
        store = SealedStore(await SqliteStore.open(tmp_path / "journal.db"), HttpSink(session, url), KEY)
        assert await store.replay(time.time() - 3600) == 1
        [left] = await store.adopt(time.time())
        assert (left.state, left.amount, left.job) == (State.PENDING, 7, "42")
        await store.close()


async def test_what_was_paid_upfront_and_served_is_not_credited_by_the_next_enclave(
    host: Host, url: str, tmp_path: Path
) -> None:
    cipher, payment = RecordCipher(KEY), entry(state=State.SETTLED, upfront=True, amount=10**19)
    served = msgspec.structs.replace(payment, state=State.SERVED, updated=payment.updated + 1)
    unserved = entry(state=State.SETTLED, upfront=True, amount=10**19)
    host.records = [cipher.encrypt(encode_entry(each)) for each in (payment, served, unserved)]
    async with aiohttp.ClientSession() as session:
        store = SealedStore(await SqliteStore.open(tmp_path / "journal.db"), HttpSink(session, url), KEY)
        assert await store.replay(time.time() - 3600) == 2
        assert [each.key for each in await store.adopt(time.time())] == [unserved.key]
        await store.close()


async def test_a_sink_that_fails_is_loud_and_does_not_stop_the_gateway(
    host: Host, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.status = 500
    async with aiohttp.ClientSession() as session:
        lost: list[int] = []
        inner = await SqliteStore.open(tmp_path / "journal.db")
        store = SealedStore(inner, HttpSink(session, url), KEY, lambda: lost.append(1))
        payment = entry()
        await store.claim(payment, FUNDED)
        moved = await store.move(payment, State.VERIFIED, State.SERVING)
        assert moved.state is State.SERVING
        assert "not stored in the sink" in caplog.text
        assert lost == [1]
        await store.close()
        with pytest.raises(SinkUnavailableError):
            await records(HttpSink(session, "http://127.0.0.1:9/journal"))


async def test_a_sink_that_refuses_is_asked_for_the_next_entry_all_the_same(
    host: Host, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.billing.storage.sink_backlog._FIRST_BACKOFF", 3600.0)
    async with aiohttp.ClientSession() as session:
        store = SealedStore(await SqliteStore.open(tmp_path / "journal.db"), HttpSink(session, url), KEY)
        payment = entry()
        await store.claim(payment, FUNDED)
        for to, status, asked in ((State.SERVING, 500, 1), (State.WAIVED, 204, 2)):
            host.status = status
            await store.move(payment, *([State.VERIFIED] if to is State.SERVING else []), to)
            assert len(host.records) == asked
        await store.close()


async def test_an_enclave_that_vanishes_with_its_memory_is_paid_by_the_next(
    chain: LocalChain, facilitator: LocalFacilitator, tmp_path: Path, url: str
) -> None:
    definitions = quick(settlement={"hold_seconds": 0.3})
    sealed: dict[str, Any] = {"sink": url, "journal_key": KEY, "definitions": definitions}
    async with open_harness(chain, facilitator, tmp_path / "first.db", **sealed) as billing:
        paid = await billing.pay(await chain.wallet(usdc=10**6, approve=True), order())
        payment = await billing.payments.admit(paid)
        facilitator.faults.set("settle", Drop())
        await payment.settle(bill())
    assert await billing.balance() == 0
    facilitator.faults.clear()
    async with open_harness(chain, facilitator, tmp_path / "second.db", payee=billing.payee, **sealed) as successor:
        await until_answer(successor.balance, lambda balance: balance == 1230)
        assert (await refusal(successor.payments, paid)).status in (402, 409)


async def test_what_is_too_old_to_take_over_is_for_the_trusted_clock_to_say(
    chain: LocalChain, facilitator: LocalFacilitator, tmp_path: Path, url: str, host: Host
) -> None:
    """The system's is a host's to set: one that is far ahead would have the last enclave's payments forgotten."""
    then = time.time() - 30 * 86_400
    left, older = [entry(state=State.WAIVED, deadline=int(then) + hours * 3600) for hours in (-1, -8)]
    for each in (left, older):
        host.records.append(RecordCipher(KEY).encrypt(encode_entry(each)))
    async with open_harness(
        chain, facilitator, tmp_path / "next.db", sink=url, journal_key=KEY, clock=lambda: then
    ) as billing:
        store = billing.payments._store
        assert [await store.find(each) is not None for each in (left, older)] == [True, False]


async def test_what_other_workers_are_about_to_forget_is_not_restored(
    chain: LocalChain, facilitator: LocalFacilitator, tmp_path: Path, url: str, host: Host
) -> None:
    """What they forget while a new worker reads the sink would be new to their journal, and credited once more."""
    oldest = int(time.time()) - 6 * 3600
    left, older = [entry(state=State.WAIVED, deadline=oldest + minutes * 60) for minutes in (15, 5)]
    for each in (left, older):
        host.records.append(RecordCipher(KEY).encrypt(encode_entry(each)))
    async with open_harness(chain, facilitator, tmp_path / "journal.db", sink=url, journal_key=KEY) as billing:
        store = billing.payments._store
        assert [await store.find(each) is not None for each in (left, older)] == [True, False]


async def test_adopted_payments_are_copied(tmp_path: Path) -> None:
    """Their worker was lost between a move and its copy: the next enclave would not know what is being settled."""
    path, sink, payment = tmp_path / "journal.db", FileSink(tmp_path / "sink"), entry()
    lost = await SqliteStore.open(path)
    await lost.claim(payment, FUNDED)
    await lost.move(payment, State.SETTLING, amount=7)
    await lost.close()
    store = SealedStore(await SqliteStore.open(path), sink, KEY)
    assert [each.key for each in await store.adopt(time.time())] == [payment.key]
    await store.close()
    successor = SealedStore(await SqliteStore.open(tmp_path / "next.db"), sink, KEY)
    assert await successor.replay(0) == 1
    assert [(each.state, each.amount) for each in await successor.adopt(time.time())] == [(State.SETTLING, 7)]
    await successor.close()


async def test_many_adopted_payments_are_copied_together_but_not_all_at_once(tmp_path: Path) -> None:
    class BusySink(FileSink):
        copied, under_way, most = 0, 0, 0

        async def append(self, record: bytes) -> None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0)
            self.under_way -= 1
            self.copied += 1

    sink = BusySink(tmp_path / "sink")
    store = SealedStore(await SqliteStore.open(tmp_path / "journal.db"), sink, KEY)
    await store.restore([entry(state=State.SETTLING, amount=7) for _ in range(250)])
    adopted = await store.adopt(time.time())
    await store.close()
    assert (len({each.key for each in adopted}), sink.copied, sink.most) == (250, 250, 100)


@pytest.mark.parametrize("error", [SinkUnavailableError("away"), StoreUnavailableError("the disk is full")])
async def test_a_journal_whose_sink_cannot_be_replayed_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is opened anew with every try, and each has a thread and a lock of its own."""
    monkeypatch.setattr(SealedStore, "replay", AsyncMock(side_effect=error))
    settings = PaymentSettings(
        payee="0x" + "11" * 20,
        facilitator_url="http://127.0.0.1:9",
        journal=tmp_path / "journal.db",
        max_usd=Decimal("1.00"),
        mac_key=b"k",
        sink="http://127.0.0.1:9/journal",
        journal_key=KEY,
    )
    with pytest.raises(type(error)):
        await X402Payments.open(settings, CATALOG)
    assert list((tmp_path / "journal.db-workers").iterdir()) == []
