"""What a payer receives about its payment: the answer's ``payment`` object and the PAYMENT-RESPONSE header."""

from decimal import Decimal
from typing import Any

from gateway.billing.evm import values as evm
from gateway.billing.journal import Entry, State
from gateway.billing.payment import Receipt
from gateway.billing.x402 import PAYMENT_RESPONSE, SettleResponse, write_header

PRIVATE = {"Cache-Control": "private"}
NO_STORE = {"Cache-Control": "no-store"}
_STATUS = {State.SETTLED: "settled", State.PENDING: "pending", State.WAIVED: "waived"}


def receipt(entry: Entry, cost_usd: Decimal) -> Receipt:
    """The receipt of a SETTLED, PENDING or WAIVED payment. ``cost_usd`` is the cost of the answer."""
    payment: dict[str, Any] = {
        "scheme": entry.scheme,
        "network": entry.network,
        "asset": evm.checksummed(evm.address(entry.token)),
        "payer": evm.checksummed(entry.payer),
        "amount": str(_amount(entry)),
        "cost_usd": f"{cost_usd:f}",
        "rate": f"{entry.rate:f}",
        "status": _STATUS[entry.state],
        "transaction": entry.transaction,
        "price_basis": "maximum" if entry.scheme == "exact" else "usage",
    }
    return Receipt(payment=payment, headers={PAYMENT_RESPONSE: payment_response(entry), **PRIVATE})


def payment_response(entry: Entry) -> str:
    """The PAYMENT-RESPONSE value."""
    success = entry.state in {State.SETTLED, State.WAIVED}
    return write_header(
        SettleResponse(
            success=success,
            transaction=entry.transaction,
            network=entry.network,
            payer=evm.checksummed(entry.payer),
            amount=str(_amount(entry)) if success else None,
            error_reason=None if success else _error_reason(entry),
        )
    )


def _error_reason(entry: Entry) -> str:
    """``settlement_pending`` is x402's code for an outcome that is not known yet."""
    return "settlement_pending" if entry.state is State.PENDING else entry.reason


def _amount(entry: Entry) -> int:
    if entry.state is State.WAIVED:
        return 0
    return (entry.amount or 0) if entry.settled_amount is None else entry.settled_amount
