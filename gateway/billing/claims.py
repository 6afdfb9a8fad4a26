"""Rules of claims: no authorization is claimed twice, and exposure per payer is limited (facts/x402.md 1.10.6).

The rules are pure functions; a store applies them inside one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from gateway.billing.abandonment import AbandonedAnswers
from gateway.billing.definitions import Exposure
from gateway.billing.journal import UNFINISHED, Entry, State, UnfinishedPayment
from gateway.billing.standing import Standing


class ClaimRefusedError(Exception):
    """Base class of the reasons to refuse a claim."""


class AlreadyClaimedError(ClaimRefusedError):
    """The authorization was claimed before. ``state`` is its current state; ``in_use`` is that of ``is_in_use``."""

    def __init__(self, state: State, *, upfront: bool) -> None:
        super().__init__(f"this payment is {state.value}")
        self.state = state
        self.in_use = is_in_use(state, upfront=upfront)


def is_in_use(state: State, *, upfront: bool) -> bool:
    """Whether the payment's request may be running. An upfront payment is SETTLED before the work, SERVED after it."""
    return state in UNFINISHED or (upfront and state is State.SETTLED)


class PayerOwesError(ClaimRefusedError):
    """The payer owes for earlier answers, and this payment is not upfront."""


class ExposureExceededError(ClaimRefusedError):
    """The payer's unsettled payments would exceed its exposure limit."""


class TooMuchAbandonedError(ClaimRefusedError):
    """The payer left too many answers before it was charged for them; it is served again in ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} seconds to wait")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Claim:
    """A successful claim. ``outstanding`` is the sum of the payer's other unfinished caps in the same asset."""

    outstanding: int


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """``funds_known`` if balances are checked on the chain, which makes the lower limit for newcomers unnecessary.

    ``abandoned`` is what payers left unpaid, None if that is not limited.
    """

    exposure: Exposure
    funds_known: bool
    abandoned: AbandonedAnswers | None = None

    def admit(
        self, entry: Entry, earlier: State | None, unfinished: Sequence[Entry | UnfinishedPayment], standing: Standing
    ) -> Claim:
        """Admit a claim of ``entry`` or raise ClaimRefusedError. ``earlier`` is the state of a previous claim, if any.

        ``unfinished`` are the payer's other payments that have not ended. Without any, no limit applies: a single
        request has a maximum of its own.
        """
        if earlier is not None and earlier is not State.RELEASED:
            raise AlreadyClaimedError(earlier, upfront=entry.upfront)
        if standing.debt > 0 and not entry.upfront:
            raise PayerOwesError(f"{standing.debt} USD owed")
        abandoned = self.abandoned
        if abandoned and abandoned.unpaid and (seconds := abandoned.seconds_to_wait(entry.payer, standing.settled)):
            raise TooMuchAbandonedError(seconds)
        outstanding = sum((other.cap_usd for other in unfinished), Decimal(0))
        if unfinished and outstanding + entry.cap_usd > self._limit(standing):
            raise ExposureExceededError(f"{outstanding} USD unsettled")
        return Claim(sum(other.cap for other in unfinished if other.asset == entry.asset))

    def _limit(self, standing: Standing) -> Decimal:
        if self.funds_known:
            return self.exposure.ceiling_usd
        limit = self.exposure.newcomer_usd + self.exposure.growth * standing.settled
        return min(self.exposure.ceiling_usd, limit)
