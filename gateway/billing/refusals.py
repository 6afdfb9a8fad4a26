"""Every error response about a payment (facts/x402.md 1.11).

Only ``payment_required`` carries an offer: any other could make a client sign a second payment for one request.
"""

from gateway.billing.journal import Entry, State
from gateway.billing.receipt import NO_STORE, payment_response
from gateway.billing.x402 import PAYMENT_REQUIRED, PAYMENT_RESPONSE, PaymentRequired, write_header
from gateway.openai_api.errors import Fault, GatewayError, gateway_unavailable

_RETRY_SECONDS = 5.0
_UNAVAILABLE_SECONDS = 30.0


def payments_unavailable(reasons: list[str]) -> GatewayError:
    """503: payments can neither be offered nor verified now."""
    message = f"This gateway cannot take payments now: {'; '.join(reasons)}"
    return gateway_unavailable("payments_unavailable", message, retry_after=_UNAVAILABLE_SECONDS)


def payment_required(required: PaymentRequired, code: str) -> GatewayError:
    """402 with offers: nothing was paid, or the payment is not acceptable.

    Without PAYMENT-REQUIRED if there is no offer, as for a payer in debt where the facilitator settles nothing upfront:
    x402 has no empty list of offers.
    """
    offers = {PAYMENT_REQUIRED: write_header(required)} if required.accepts else {}
    return GatewayError(required.error, status=402, type="payment_required", code=code, headers={**offers, **NO_STORE})


def invalid_payment(message: str) -> GatewayError:
    """400 without an offer: the client would repeat the same mistake."""
    return GatewayError(message, code="invalid_payment", should_retry=False, headers=dict(NO_STORE))


def payment_in_flight(state: State) -> GatewayError:
    """409: the same authorization is being served, or the outcome of its settlement is not known yet."""
    return GatewayError(
        f"This payment is already in use ({state.value}); wait for the response to the request that it was sent with.",
        status=409,
        type="payment_error",
        code="payment_in_flight",
        retry_after=_RETRY_SECONDS,
        should_retry=False,
        headers=dict(NO_STORE),
    )


def too_much_unsettled(message: str, retry_after: float = _RETRY_SECONDS) -> GatewayError:
    """429 until the payer's earlier requests are settled, or what it left unpaid is a while ago."""
    return GatewayError(
        message,
        status=429,
        type="rate_limit_error",
        code="too_much_unsettled",
        fault=Fault.POLICY,
        retry_after=retry_after,
        headers=dict(NO_STORE),
    )


def unavailable(message: str, retry_after: float | None = None) -> GatewayError:
    """503 without an offer: a payment whose work or settlement had not begun can be presented again."""
    error = gateway_unavailable("payments_unavailable", message, retry_after=retry_after or _RETRY_SECONDS)
    error.headers.update(NO_STORE)
    return error


def payment_closed(state: State) -> GatewayError:
    """402 without an offer, for an answer withheld because it was completed after the deadline; not charged."""
    return GatewayError(
        f"The payment was closed before the response was complete ({state.value}); the response is withheld.",
        status=402,
        type="payment_error",
        code="payment_closed",
        should_retry=False,
        headers=dict(NO_STORE),
    )


def settlement_failed(entry: Entry) -> GatewayError:
    """402 for an answer withheld because its settlement failed; without an offer, so that it is not paid again."""
    return GatewayError(
        f"The payment could not be settled ({entry.reason}); the response is withheld and nothing was charged.",
        status=402,
        type="payment_error",
        code=entry.reason,
        fault=Fault.CALLER if entry.payers_fault else Fault.GATEWAY,
        should_retry=False,
        headers={PAYMENT_RESPONSE: payment_response(entry), **NO_STORE},
    )


def settlement_pending(entry: Entry) -> GatewayError:
    """503 before any work, for an upfront payment of unknown outcome: not to be paid again, credited if it settles.

    ``entry`` is PENDING; the response names its transaction, if one is known.
    """
    return GatewayError(
        "The payment was sent for settlement and its outcome is not known yet. Nothing was served; if the payment "
        "settles, it is credited to the payer's next upfront payment.",
        status=503,
        type="payment_error",
        code="settlement_pending",
        fault=Fault.GATEWAY,
        retry_after=_RETRY_SECONDS,
        should_retry=False,
        headers={PAYMENT_RESPONSE: payment_response(entry), **NO_STORE},
    )
