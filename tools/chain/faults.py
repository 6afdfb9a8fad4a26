"""What can be made to go wrong at the local facilitator, as values: set in process, or as JSON over its control path.

Faults of one endpoint apply together, in order. Transport faults happen `before` the work, which is then not done, or
`after` it, when the work is done and only its answer is spoiled.
"""

import re
from typing import Literal

import msgspec

Endpoint = Literal["supported", "verify", "settle", "job", "settle_data", "heartbeat"]
"""`job` is `GET /settle/{jobId}`."""
When = Literal["before", "after"]


def _kind(class_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()


class _Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=_kind):
    """In JSON: `{"kind": "other_amount", …fields…}`."""


class Slow(_Fault, frozen=True):
    """So many seconds pass."""

    seconds: float
    when: When = "before"


class Status(_Fault, frozen=True):
    """This status is answered, with `{"error": …}` and perhaps `Retry-After`."""

    status: int
    retry_after: int | None = None
    when: When = "before"


class Drop(_Fault, frozen=True):
    """The connection is reset without an answer."""

    when: When = "before"


class Body(_Fault, frozen=True):
    """A 200 with this text instead of the answer."""

    text: str
    when: When = "before"


class Verdict(_Fault, frozen=True):
    """/verify: this verdict without looking at the payment."""

    valid: bool


class Pending(_Fault, frozen=True):
    """/settle: the transaction is broadcast and its receipt is never seen: `settlement_pending`."""


class NothingSettled(_Fault, frozen=True):
    """/settle: success, with the hash of a transaction that does not exist."""


class OtherAmount(_Fault, frozen=True):
    """/settle of `upto`: settles this amount and reports the one that was asked for, or `reported`."""

    amount: int
    reported: int | None = None


class OtherPayee(_Fault, frozen=True):
    """/settle: success, with the hash of a transaction in which the facilitator paid the amount to somebody else."""

    payee: str


class Denied(_Fault, frozen=True):
    """/settle: settles, and answers that it failed."""


class WholeAmount(_Fault, frozen=True):
    """/settle: refuses an amount below the one that was signed (facts/x402.md 4 row 21)."""


TransportFault = Slow | Status | Drop | Body
SettlementFault = Pending | NothingSettled | OtherAmount | OtherPayee | Denied | WholeAmount
Fault = TransportFault | SettlementFault | Verdict


class JobMode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
