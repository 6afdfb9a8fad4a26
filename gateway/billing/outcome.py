"""How a settlement ended, as far as one can tell; each of the three is answered differently (facts/x402.md 1.11)."""

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
    """Not settled and not going to be; ``reason`` in x402's words."""

    reason: str
    message: str = ""
    transaction: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Perhaps settled. ``transaction`` was broadcast, ``job`` queued, if either is known."""

    reason: str
    transaction: str = ""
    job: str = ""


Outcome = Settled | Refused | Unknown
