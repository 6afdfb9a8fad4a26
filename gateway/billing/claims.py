"""Who may claim a payment: nobody a second time, and no payer for more than it is trusted with (facts/x402.md 1.10.6).

The rules are pure; a store applies them inside one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from gateway.billing.definitions import Exposure
from gateway.billing.journal import UNFINISHED, Entry, Standing, State


class ClaimRefusedError(Exception):
    """A claim that must not be made."""


class AlreadyClaimedError(ClaimRefusedError):
    """The authorization was presented before; ``state`` is what became of it, ``in_use`` as in ``is_in_use``."""

    def __init__(self, state: State, *, upfront: bool) -> None:
        super().__init__(f"this payment is {state.value}")
        self.state = state
        self.in_use = is_in_use(state, upfront=upfront)


def is_in_use(state: State, *, upfront: bool) -> bool:
    """Whether the request of a payment may still be going on: an upfront payment is settled before the work begins,
    and served when that is over."""
    return state in UNFINISHED or (upfront and state is State.SETTLED)


class PayerOwesError(ClaimRefusedError):
    """The payer has had answers that it did not pay, and this payment is not upfront."""


class ExposureExceededError(ClaimRefusedError):
    """Too much of this payer's is unsettled already."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that was made. ``outstanding`` is what the payer's earlier claims may still take of the same asset."""

    outstanding: int


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """``funds_known``: the payer's balance is checked besides, so that a newcomer needs no limit of its own."""

    exposure: Exposure
    funds_known: bool

    def admit(self, entry: Entry, earlier: State | None, open_claims: Sequence[Entry], standing: Standing) -> Claim:
        """Decides on ``entry``, of which ``earlier`` is known; raises ClaimRefusedError.

        ``open_claims`` are the payer's other unfinished payments. A payer with nothing open is let in whatever the
        limit, because one request has a maximum of its own.
        """
        if earlier is not None and earlier is not State.RELEASED:
            raise AlreadyClaimedError(earlier, upfront=entry.upfront)
        if standing.debt > 0 and not entry.upfront:
            raise PayerOwesError(f"{standing.debt} USD are owed")
        outstanding = sum((claim.cap_usd for claim in open_claims), Decimal(0))
        if open_claims and outstanding + entry.cap_usd > self._limit(standing):
            raise ExposureExceededError(f"{outstanding} USD are unsettled")
        return Claim(sum(claim.cap for claim in open_claims if claim.asset == entry.asset))

    def _limit(self, standing: Standing) -> Decimal:
        if self.funds_known:
            return self.exposure.ceiling_usd
        trusted = self.exposure.newcomer_usd + self.exposure.growth * standing.settled
        return min(self.exposure.ceiling_usd, trusted)
