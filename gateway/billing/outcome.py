"""Outcomes of a settlement. Each of the three leads to a different response (facts/x402.md 1.11)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settled:
    """``amount`` is the settled amount that the facilitator reports, None when it reports none.

    ``matches`` is None when the facilitator named the transaction. When the transaction was found by searching the
    chain, it is the number of transfers in it that could be this payment's.
    """

    transaction: str
    amount: int | None = None
    matches: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not settled, finally. ``reason`` is an x402 reason code."""

    reason: str
    message: str = ""
    transaction: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Possibly settled. ``transaction`` was broadcast, ``job`` queued, if known.

    ``retry_after`` is the facilitator's Retry-After in seconds, 0 without one.
    """

    reason: str
    transaction: str = ""
    job: str = ""
    retry_after: float = 0.0


Outcome = Settled | Refused | Unknown
