"""A store whose entries are also kept, sealed, outside the process: from the moment that work begins to the end.

In an enclave the store itself is in memory. What another enclave with the same journal key finds in the sink at its
start is what this one left: amounts to settle, and authorizations that are used up although the chain does not say so.
"""

import logging
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import Entry, State, decode_entry, encode_entry
from gateway.billing.storage.sink import RecordCipher, Sink, SinkSilentError, SinkUnavailableError
from gateway.billing.storage.sink_backlog import SinkBacklog
from gateway.billing.storage.store import Store

log = logging.getLogger(__name__)

_KEPT = {
    state: place
    for place, state in enumerate(
        (State.SERVING, State.SETTLING, State.PENDING, State.FAILED, State.WAIVED, State.SETTLED, State.SERVED)
    )
}
"""In the order in which payments come to them, none of which leads back: it counts before the enclave's clock."""


class SealedStore:
    """``inner`` with a copy of every entry from SERVING on in ``sink``, written before its move counts as done.

    A sink that fails does not stop the gateway: the entry is in ``inner`` and sent again later, and the failure is
    logged as an error and told to ``on_append_failed``. A sink that is silent is not waited for again until it answers.
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
        """Take over what the sink still holds of payments whose deadline is after ``since``, in Unix seconds; how many.

        Raises SinkUnavailableError.
        """
        entries = [entry for entry in await self._latest() if entry.deadline > since]
        await self._inner.restore(entries)
        return len(entries)

    async def quote_key(self, proposed: bytes) -> bytes:
        return await self._inner.quote_key(proposed)

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        return await self._inner.claim(entry, policy)

    async def find(self, key: bytes) -> Entry | None:
        return await self._inner.find(key)

    async def find_all(self, keys: Collection[bytes]) -> list[Entry]:
        return await self._inner.find_all(keys)

    async def move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        return await self._kept(await self._inner.move(payment, *to, **changes))

    async def reconcile(self, payment: Entry, *, matches: int, **changes: Any) -> Entry:
        return await self._kept(await self._inner.reconcile(payment, matches=matches, **changes))

    async def defer_move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        return await self._kept(await self._inner.defer_move(payment, *to, **changes))

    async def _kept(self, entry: Entry) -> Entry:
        if entry.state not in _KEPT:
            return entry
        why = "the sink has not answered yet"
        if not self._backlog.silent:
            try:
                await self._append(entry)
            except SinkUnavailableError as error:
                self._backlog.silent = isinstance(error, SinkSilentError)
                why = str(error)
            else:
                return entry
        self._backlog.add(entry)
        self._on_append_failed()
        log.error("journal entry not kept outside", extra={"payment": entry.id, "reason": why})
        return entry

    async def _append(self, entry: Entry) -> None:
        await self._sink.append(self._cipher.encrypt(encode_entry(entry)))

    async def adopt(self, now: float) -> list[Entry]:
        return await self._inner.adopt(now)

    async def restore(self, entries: list[Entry]) -> None:
        await self._inner.restore(entries)

    async def take_credit(self, payment: Entry) -> Entry | None:
        return await self._inner.take_credit(payment)

    async def prune(self, before: float) -> int:
        return await self._inner.prune(before)

    async def close(self) -> None:
        await self._backlog.close()
        await self._inner.close()

    async def _latest(self) -> list[Entry]:
        """How far each payment has come, whatever order the host gives its entries in."""
        newest: dict[bytes, Entry] = {}
        async for record in self._sink.records():
            entry = _entry(self._cipher.decrypt(record))
            if entry is not None and (entry.key not in newest or _age(newest[entry.key]) <= _age(entry)):
                newest[entry.key] = entry
        return list(newest.values())


def _age(entry: Entry) -> tuple[int, float]:
    return _KEPT.get(entry.state, -1), entry.updated


def _entry(plain: bytes | None) -> Entry | None:
    """None for what was not sealed under this key, or by a version that wrote entries otherwise."""
    if plain is None:
        return None
    try:
        return decode_entry(plain)
    except msgspec.DecodeError:
        log.warning("a sealed journal record of another version is left out")
        return None
