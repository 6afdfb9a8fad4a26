"""How a settlement ended, as far as one can tell; each of the three is answered differently (facts/x402.md 1.11)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settled:
    """``amount`` is what the facilitator says was paid; None when it does not say.

    ``alike`` is None where the transaction was named. Of one that was found by what it is made of it is how many of its
    transfers could be the payment's.
    """

    transaction: str
    amount: int | None = None
    alike: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not settled and not going to be; ``reason`` in x402's words."""

    reason: str
    message: str = ""
    transaction: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Perhaps settled. ``transaction`` was broadcast, ``job`` queued, if either is known."""

    why: str
    transaction: str = ""
    job: str = ""


Outcome = Settled | Refused | Unknown
