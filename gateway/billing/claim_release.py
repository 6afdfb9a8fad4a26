"""The release of a claim for which no work was done, so that the payer can present its payment again."""

from typing import Any

from gateway.billing.journal import Entry, State
from gateway.billing.storage.store import Store


class ClaimRelease:
    """Releases ``claim``, or else the entry that it finds first, before which nobody else can claim the payment.

    Can be called again after a commit with an unknown outcome, which may have released it: an entry of any other
    version is left alone, since it can be a later claim of the same payment.
    """

    def __init__(self, store: Store, claim: Entry | None = None) -> None:
        self._store = store
        self._version = None if claim is None else _version(claim)

    async def __call__(self, payment: Entry, to: State, **changes: Any) -> Entry:
        """Move the stored entry to ``to``, or to WAIVED if it is SERVING because an unknown commit succeeded.

        Only the stored entry knows whether credit was used for it, which is given back.
        """
        stored = await self._store.find(payment)
        if stored is None:
            return payment
        self._version = self._version or _version(stored)
        if _version(stored) != self._version:
            return stored
        if stored.by_credit:
            changes["credited"] = stored.cap
        return await self._store.move(stored, State.WAIVED if stored.state is State.SERVING else to, **changes)


def _version(entry: Entry) -> tuple[State, str, float]:
    return entry.state, entry.owner, entry.updated
