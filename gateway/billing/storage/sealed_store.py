"""A store that also appends its entries, sealed, to a sink outside the enclave, from SERVING to their final state.

In an enclave the store itself is in memory. The next enclave with the same journal key replays the sink at its start:
amounts still to settle, and authorizations that are used although their nonce is unspent on the chain.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import Entry, State, decode_entry, encode_entry
from gateway.billing.storage.records import RecordCipher
from gateway.billing.storage.sink import Sink, SinkTimeoutError, SinkUnavailableError
from gateway.billing.storage.sink_backlog import SinkBacklog
from gateway.billing.storage.store import Store

log = logging.getLogger(__name__)

_PROGRESS = {
    state: rank
    for rank, state in enumerate(
        (State.SERVING, State.SETTLING, State.PENDING, State.FAILED, State.WAIVED, State.SETTLED, State.SERVED)
    )
}
"""States that are copied, in the order of the transitions. Of two copies the later state wins, whatever their times."""
_RESTORED_AT_ONCE = 500
_COPIED_AT_ONCE = 100
"""As many as aiohttp opens connections for: waiting for one would count as a timeout of the sink."""


class _Copy(NamedTuple):
    """A payment's entry as JSON, which takes a third of the memory, and what to compare and group it by."""

    payer: bytes
    progress: tuple[int, float]
    entry: bytes


class SealedStore:
    """``inner`` plus a copy of every entry from SERVING on in ``sink``, appended before its move returns.

    A failing sink does not fail the move: the error is logged, ``on_append_failed`` is called, the entry is appended
    later. A sink that timed out is not waited for again until it responds.
    """

    def __init__(
        self, inner: Store, sink: Sink, key: bytes, on_append_failed: Callable[[], object] = lambda: None
    ) -> None:
        self._inner = inner
        self._sink = sink
        self._cipher = RecordCipher(key)
        self._on_append_failed = on_append_failed
        self._backlog = SinkBacklog(self._append)

    @property
    def owner(self) -> str:
        return self._inner.owner

    async def replay(self, since: float) -> int:
        """Restore the payments in the sink whose deadline is after ``since`` (Unix seconds); return their number.

        In steps, between which the payments of others are written. Raises SinkUnavailableError.
        """
        copies = await self._latest(since)
        for step in _by_payers(copies):
            await self._inner.restore([decode_entry(copy.entry) for copy in step])
        return len(copies)

    async def quote_key(self, proposed: bytes) -> bytes:
        return await self._inner.quote_key(proposed)

    async def check(self) -> None:
        await self._inner.check()

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        return await self._inner.claim(entry, policy)

    async def find(self, payment: Entry) -> Entry | None:
        return await self._inner.find(payment)

    async def find_all(self, keys: Collection[bytes]) -> list[Entry]:
        return await self._inner.find_all(keys)

    async def move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        return await self._copied(await self._inner.move(payment, *to, **changes))

    async def reconcile(self, payment: Entry, *, matches: int, **changes: Any) -> Entry:
        return await self._copied(await self._inner.reconcile(payment, matches=matches, **changes))

    async def defer_move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        return await self._copied(await self._inner.defer_move(payment, *to, **changes))

    async def _copied(self, entry: Entry) -> Entry:
        if entry.state not in _PROGRESS:
            return entry
        reason = "the sink has not responded yet"
        if not self._backlog.timed_out:
            try:
                await self._append(entry)
            except SinkUnavailableError as error:
                self._backlog.timed_out = isinstance(error, SinkTimeoutError)
                reason = str(error)
            else:
                return entry
        self._backlog.add(entry)
        self._on_append_failed()
        log.error("journal entry not stored in the sink", extra={"payment": entry.id, "reason": reason})
        return entry

    async def _append(self, entry: Entry) -> None:
        await self._sink.append(self._cipher.encrypt(encode_entry(entry)))

    async def adopt(self, now: float) -> list[Entry]:
        """Their worker may have been lost between a move and its copy, which no settlement may precede."""
        adopted = await self._inner.adopt(now)
        for start in range(0, len(adopted), _COPIED_AT_ONCE):
            await asyncio.gather(*map(self._copied, adopted[start : start + _COPIED_AT_ONCE]))
        return adopted

    async def restore(self, entries: list[Entry]) -> None:
        await self._inner.restore(entries)

    async def take_credit(self, payment: Entry) -> Entry | None:
        return await self._inner.take_credit(payment)

    async def prune(self, before: float, released_before: float) -> int:
        return await self._inner.prune(before, released_before)

    async def close(self) -> None:
        await self._backlog.close()
        await self._inner.close()

    async def _latest(self, since: float) -> list[_Copy]:
        """The most advanced entry of each payment, in whatever order the host returns the records."""
        newest: dict[bytes, _Copy] = {}
        async for record in self._sink.records():
            plain = self._cipher.decrypt(record)
            if plain is None or (entry := _decode(plain)) is None or entry.deadline <= since:
                continue
            copy = _Copy(entry.payer, _progress(entry), plain)
            if entry.key not in newest or newest[entry.key].progress <= copy.progress:
                newest[entry.key] = copy
        return list(newest.values())


def _by_payers(copies: Iterable[_Copy]) -> Iterator[list[_Copy]]:
    """``copies`` in steps, each with all payments of its payers, whose credit is a sum over them."""
    step: list[_Copy] = []
    payer = attrgetter("payer")
    for _, payments in groupby(sorted(copies, key=payer), payer):
        step += payments
        if len(step) >= _RESTORED_AT_ONCE:
            yield step
            step = []
    yield step


def _progress(entry: Entry) -> tuple[int, float]:
    return _PROGRESS.get(entry.state, -1), entry.updated


def _decode(plain: bytes) -> Entry | None:
    """None for a record written by an incompatible version."""
    try:
        return decode_entry(plain)
    except msgspec.DecodeError:
        log.warning("skipping a sealed journal record of another version")
        return None
