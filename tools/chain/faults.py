"""What can be made to go wrong at the local facilitator.

Faults of one endpoint apply together, in order. Transport faults happen `before` the work, which is then not done, or
`after` it, when the work is done and only its answer is spoiled.
"""

from dataclasses import dataclass
from typing import Literal

Endpoint = Literal["supported", "verify", "settle", "job", "settle_data", "heartbeat"]
"""`job` is `GET /settle/{jobId}`."""
When = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Slow:
    """So many seconds pass."""

    seconds: float
    when: When = "before"


@dataclass(frozen=True, slots=True)
class Status:
    """This status is answered, with `{"error": …}` and perhaps `Retry-After`."""

    status: int
    retry_after: int | None = None
    when: When = "before"


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is reset without an answer."""

    when: When = "before"


@dataclass(frozen=True, slots=True)
class Body:
    """A 200 with this text instead of the answer."""

    text: str
    when: When = "before"


@dataclass(frozen=True, slots=True)
class Verdict:
    """/verify: this verdict without looking at the payment."""

    valid: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """/settle: the transaction is broadcast and its receipt is never seen: `settlement_pending`."""


@dataclass(frozen=True, slots=True)
class NothingSettled:
    """/settle: success, with the hash of a transaction that does not exist."""


@dataclass(frozen=True, slots=True)
class OtherAmount:
    """/settle of `upto`: settles this amount and reports the one that was asked for, or `reported`."""

    amount: int
    reported: int | None = None


@dataclass(frozen=True, slots=True)
class OtherPayee:
    """/settle: success, with the hash of a transaction in which the facilitator paid the amount to somebody else."""

    payee: str


@dataclass(frozen=True, slots=True)
class Denied:
    """/settle: settles, and answers that it failed."""


@dataclass(frozen=True, slots=True)
class WholeAmount:
    """/settle: refuses an amount below the one that was signed (facts/x402.md 4 row 21)."""


TransportFault = Slow | Status | Drop | Body
SettlementFault = Pending | NothingSettled | OtherAmount | OtherPayee | Denied | WholeAmount
Fault = TransportFault | SettlementFault | Verdict


@dataclass(frozen=True, slots=True)
class JobMode:
    """OpenGradient's way of settling: 202 and a job (facts/x402.md 2.3). One worker takes the jobs in turn.

    `seconds` is how long a job waits at the worker before it settles. What becomes of it: `settled` is the truth
    (whose result may still be a failure), `failed` fails without settling, `lost` settles and is then forgotten (404),
    `stalled` is never finished and not settled. `wrapped` puts `{"paymentJob": …}` around a polled job too.
    """

    seconds: float = 0.02
    outcome: Literal["settled", "failed", "lost", "stalled"] = "settled"
    wrapped: bool = True


class Faults:
    """The faults in force, by endpoint."""

    def __init__(self) -> None:
        self._faults: dict[Endpoint, tuple[Fault, ...]] = {}
        self._remaining: dict[Endpoint, int | None] = {}

    def set(self, endpoint: Endpoint, *faults: Fault, times: int | None = None) -> None:
        """Replaces the endpoint's faults, for its next `times` calls or until cleared."""
        self._faults[endpoint] = faults
        self._remaining[endpoint] = times

    def clear(self) -> None:
        self._faults.clear()
        self._remaining.clear()

    def take(self, endpoint: Endpoint) -> tuple[Fault, ...]:
        """The faults of one call, which is counted."""
        remaining = self._remaining.get(endpoint)
        if remaining is None:
            return self._faults.get(endpoint, ())
        if remaining <= 0:
            return ()
        self._remaining[endpoint] = remaining - 1
        return self._faults[endpoint]
