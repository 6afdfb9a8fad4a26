"""A sink that does not answer: answers do not wait for it, and it is sent what it missed."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.billing.journal import State
from gateway.billing.storage.sealed_store import SealedStore
from gateway.billing.storage.sink import FileSink, HttpSink, Sink, SinkTimeoutError, SinkUnavailableError
from gateway.billing.storage.sqlite_store import SqliteStore
from tests.billing.entries import FUNDED, entry
from tests.waiting import until, until_answer

KEY = b"j" * 32


async def records(sink: Sink) -> list[bytes]:
    return [record async for record in sink.records()]


class SilentSink(FileSink):
    """Times out while ``silent``, and counts how often it was waited for."""

    silent, asked = True, 0

    async def append(self, record: bytes) -> None:
        self.asked += 1
        if self.silent:
            raise SinkTimeoutError("the journal sink cannot be reached: TimeoutError")
        await super().append(record)


async def test_a_silent_sink_is_waited_for_once_and_is_sent_everything_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers that it would hold up are all that wait for it."""
    monkeypatch.setattr("gateway.billing.storage.sink_backlog._FIRST_BACKOFF", 3600.0)
    sink, failed = SilentSink(tmp_path / "sink"), []
    store = SealedStore(await SqliteStore.open(tmp_path / "first.db"), sink, KEY, lambda: failed.append(1))
    settling, waived, served = entry(), entry(), entry()
    for payment in (settling, waived, served):
        await store.claim(payment, FUNDED)
        await store.move(payment, State.VERIFIED, State.SERVING)
    await store.move(settling, State.SETTLING, amount=7)
    await store.move(waived, State.WAIVED)
    assert (sink.asked, len(failed), await records(sink)) == (1, 5, [])
    sink.silent = False
    await store._backlog._drain()
    assert len(await records(sink)) == 3
    await store.move(served, State.WAIVED)
    assert (sink.asked, len(failed)) == (5, 5)
    await store.close()
    second = SealedStore(await SqliteStore.open(tmp_path / "second.db"), sink, KEY)
    assert await second.replay(time.time() - 3600) == 3
    assert [(each.key, each.amount) for each in await second.adopt(time.time())] == [(settling.key, 7)]
    await second.close()


async def test_what_a_sink_did_not_take_is_sent_again_by_and_by_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.billing.storage.sink_backlog._FIRST_BACKOFF", 0.01)
    sink = SilentSink(tmp_path / "sink")
    store = SealedStore(await SqliteStore.open(tmp_path / "journal.db"), sink, KEY)
    for kept in (1, 2):
        sink.silent = True
        payment = entry()
        await store.claim(payment, FUNDED)
        await store.move(payment, State.VERIFIED, State.SERVING)
        if kept == 1:
            await until(lambda: sink.asked >= 3)
            sink.silent = False
            await until_answer(lambda: records(sink))
    sink.silent = False
    await store.close()
    assert len(await records(sink)) == 2


async def test_only_a_time_out_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.billing.storage.sink._TIMEOUT", 0.05)

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", hang)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with pytest.raises(SinkTimeoutError):
            await HttpSink(session, str(server.make_url("/"))).append(b"record")
        with pytest.raises(SinkUnavailableError) as refused:
            await HttpSink(session, str(server.make_url("/nowhere"))).append(b"record")
    assert not isinstance(refused.value, SinkTimeoutError)


async def test_what_waits_for_a_sink_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.billing.storage.sink_backlog._MAX_ENTRIES", 2)
    sink = SilentSink(tmp_path / "sink")
    store = SealedStore(await SqliteStore.open(tmp_path / "first.db"), sink, KEY)
    payments = [entry() for _ in range(3)]
    for payment in payments:
        await store.claim(payment, FUNDED)
        await store.move(payment, State.VERIFIED, State.SERVING)
    await store.move(payments[0], State.WAIVED)
    sink.silent = False
    await store.close()
    second = SealedStore(await SqliteStore.open(tmp_path / "second.db"), sink, KEY)
    await second.replay(0)
    assert {each.key for each in await second.find_all({each.key for each in payments})} == {
        payments[0].key,
        payments[2].key,
    }
    await second.close()
