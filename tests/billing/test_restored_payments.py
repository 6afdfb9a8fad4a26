"""What stores make of payments known from elsewhere: what their payers owe and have earned, each counted once."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.billing.claims import ExposureExceededError, PayerOwesError
from gateway.billing.journal import State, encode_entry
from gateway.billing.storage import sealed_store
from gateway.billing.storage.records import RecordCipher
from gateway.billing.storage.sealed_store import SealedStore
from gateway.billing.storage.sink import FileSink
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import Store
from tests.billing.entries import FUNDED, POLICY, entry

KEY = b"j" * 32


async def test_restored_payments_bring_what_their_payer_owes(store: Store) -> None:
    """Told in any order; a debt is worked off by what was paid upfront after it, not by what was before."""
    half = Decimal("0.5")
    early = entry(state=State.SERVED, amount=10**19, upfront=True, updated=1.0)
    unpaid = entry(state=State.FAILED, amount=10**19, payers_fault=True, updated=2.0)
    ours = entry(state=State.FAILED, amount=10**19, updated=3.0)
    late = entry(state=State.SETTLED, amount=10**19, cap_usd=half, upfront=True, updated=4.0)
    for _ in range(2):
        await store.restore([late, ours, unpaid, early])
    with pytest.raises(PayerOwesError, match=r"0\.50* USD"):
        await store.claim(entry(), POLICY)
    await store.restore([entry(state=State.FAILED, amount=10**19, payers_fault=True)])
    with pytest.raises(PayerOwesError, match=r"1\.50* USD"):
        await store.claim(entry(), POLICY)
    await store.restore([entry(state=State.SERVED, amount=10**19, cap_usd=3 * half, upfront=True)])
    await store.claim(entry(), POLICY)


async def test_restored_payments_bring_the_trust_that_their_payer_has_earned(store: Store) -> None:
    await store.restore([entry(state=state, amount=10**19, cap_usd=Decimal(3)) for state in (State.SETTLED,) * 2])
    for _ in range(14):
        await store.claim(entry(), POLICY)
    with pytest.raises(ExposureExceededError):
        await store.claim(entry(), POLICY)


async def test_workers_that_restore_the_same_at_once_restore_it_once(store: Store, twin: Store) -> None:
    """As all that take one injection do."""
    entries = [entry(state=State.SERVED, cap=1, credited=1, upfront=True) for _ in range(40)]
    unpaid = entry(state=State.FAILED, amount=10**19, payers_fault=True)
    await asyncio.gather(*(each.restore([*entries, unpaid]) for each in (store, twin)))
    assert await store.take_credit(entry(cap=41)) is None
    assert await store.take_credit(entry(cap=40)) is not None
    with pytest.raises(PayerOwesError, match=r"^1(\.0*)? USD"):
        await store.claim(entry(), POLICY)


async def test_restoring_many_payments_lets_others_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a million held the journal for longer than another worker that restores them waits."""
    monkeypatch.setattr(sealed_store, "_RESTORED_AT_ONCE", 1)
    sink = FileSink(tmp_path / "sink")
    for number in range(20):
        copy = entry(state=State.WAIVED, payer=bytes([number]) * 20)
        await sink.append(RecordCipher(KEY).encrypt(encode_entry(copy)))
    store, ended = SealedStore(await SqliteStore.open(tmp_path / "journal.db"), sink, KEY), []

    async def restore() -> None:
        assert await store.replay(0) == 20
        ended.append("restored")

    async def claim() -> None:
        while "restored" not in ended:
            await store.claim(entry(), FUNDED)
            ended.append("claimed")

    await asyncio.gather(restore(), claim())
    assert ended.index("restored") > 10
    await store.close()


async def test_credit_is_restored_with_what_has_used_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the sink has one payer's payments far apart."""
    monkeypatch.setattr(sealed_store, "_RESTORED_AT_ONCE", 1)
    sink = FileSink(tmp_path / "sink")
    for payment in (
        entry(state=State.WAIVED, cap=7, by_credit=True),
        *(entry(state=State.WAIVED, payer=bytes([number]) * 20) for number in range(256)),
        entry(state=State.SERVED, cap=9, credited=9, upfront=True),
    ):
        await sink.append(RecordCipher(KEY).encrypt(encode_entry(payment)))
    store = SealedStore(await SqliteStore.open(tmp_path / "journal.db"), sink, KEY)
    await store.replay(0)
    assert await store.take_credit(entry(cap=3)) is None
    assert await store.take_credit(entry(cap=2)) is not None
    await store.close()


async def test_what_was_found_on_the_chain_is_known_to_the_next_enclave(tmp_path: Path) -> None:
    payment, sink = entry(), FileSink(tmp_path / "sink")
    first = SealedStore(await SqliteStore.open(tmp_path / "first.db"), sink, KEY)
    await first.claim(payment, POLICY)
    await first.move(payment, State.VERIFIED, State.SERVING, State.SETTLING, amount=7)
    await first.reconcile(payment, matches=1, transaction="0xab", settled_amount=7)
    await first.close()
    second = SealedStore(await SqliteStore.open(tmp_path / "second.db"), sink, KEY)
    await second.replay(payment.deadline - 1)
    restored = await second.find(payment)
    assert restored is not None
    assert (restored.state, restored.transaction) == (State.SETTLED, "0xab")
    await second.close()
