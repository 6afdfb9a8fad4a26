"""Which refusals of a facilitator are final.

Facilitators also refuse what they could not check, or have sent and not seen on the chain: that may still be settled.
"""

_NOT_FINAL = frozenset({"settlement_pending", "settle_exact_node_failure", "rate_limited"})
"""Reasons of refusals after which the payment may still be settled: of x402, of Coinbase, whose transactions were
confirmed after the node failure, and of those that limit the settlements of one payer."""
_UNEXPLAINED = frozenset({"unexpected_settle_error", "unexpected_error", "unknown_error"})
"""Reasons that x402 and x402-rs give for whatever fails on the chain, a receipt that is late included."""
_UNCONFIRMED = (
    "settlement_pending",
    "confirmation_timed_out",
    "failed_to_get_receipt",
    "Timed out while waiting for transaction",
    "is not in the chain after",
)
"""Texts of refusals of a transaction that was broadcast but not seen in a block: of x402 when it could not store the
pending transaction, of Coinbase, of x402 in Go, of viem, and of web3."""
_UNSENT = (
    "Nonce provided for the transaction",
    "eth_sendRawTransaction",
    "nonce too low",
    "replacement transaction underpriced",
)
"""Texts of refusals of a transaction that no node accepted, because another one of the facilitator's own account took
its nonce: of viem (x402 in TypeScript settles payments at the same time), and of nodes."""


def is_busy(status: int) -> bool:
    """Whether a refusal with ``status`` is about the facilitator's own state, not about the payment.

    x402-rs refuses with a 5xx when it cannot read the chain, others with a 429 when they are asked too often.
    """
    return status == 429 or status >= 500


def may_still_settle(status: int, reason: str, text: str) -> bool:
    """Whether the payment may still be settled in spite of a refusal with ``reason``, which is part of ``text``.

    Not after a call that reverted: x402-rs answers 500 to that too, as when a payer has withdrawn its funds. The reason
    in its text proves nothing, since a payer's contract can choose it.
    """
    if reason in _NOT_FINAL:
        return True
    if "revert" in text.lower():
        return False
    return is_busy(status) or reason in _UNEXPLAINED or any(known in text for known in (*_UNCONFIRMED, *_UNSENT))
