"""What a payer's earlier payments leave behind: its standing, which limits new claims, and its credit."""

from collections.abc import Iterable
from decimal import Decimal
from functools import reduce

import msgspec

from gateway.billing.journal import Entry, State

CHANGES_STANDING = frozenset({State.SETTLED, State.FAILED})
"""States that change the payer's standing."""


class Standing(msgspec.Struct, frozen=True):
    """A payer's history in USD: the total it has settled, and its debt for answers that it did not pay."""

    settled: Decimal = Decimal(0)
    debt: Decimal = Decimal(0)

    def after(self, entry: Entry) -> "Standing":
        """The standing after ``entry`` has ended. Upfront payments reduce the debt."""
        if entry.state is State.SETTLED:
            debt = max(Decimal(0), self.debt - entry.amount_usd) if entry.upfront else self.debt
            return Standing(self.settled + entry.amount_usd, debt)
        if entry.state is State.FAILED and entry.payers_fault and not entry.upfront:
            return Standing(self.settled, self.debt + entry.amount_usd)
        return self

    def after_all(self, entries: Iterable[Entry]) -> "Standing":
        """The standing after ``entries`` have ended, in order."""
        return reduce(Standing.after, entries, self)


def standing_changes(entries: Iterable[Entry]) -> dict[bytes, list[Entry]]:
    """The entries that change their payer's standing, by payer, in the order in which they ended.

    A SERVED entry is returned as SETTLED.
    """
    ended: dict[bytes, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.updated):
        paid = msgspec.structs.replace(entry, state=State.SETTLED) if entry.state is State.SERVED else entry
        if paid.state in CHANGES_STANDING:
            ended.setdefault(paid.payer, []).append(paid)
    return ended


def remaining_credit(entries: Iterable[Entry]) -> dict[tuple[bytes, str], int]:
    """The credit that remains after ``entries``, by payer and asset, in atomic units.

    Never negative: the payment that a credit came from can be pruned before the one that used it.
    """
    left: dict[tuple[bytes, str], int] = {}
    for entry in entries:
        owner = entry.payer, entry.asset
        left[owner] = left.get(owner, 0) + entry.credited - (entry.cap if entry.by_credit else 0)
    return {owner: amount for owner, amount in left.items() if amount > 0}
