"""Data for OpenGradient's facilitator beside a payment: counts, names and hashes, no content (facts/x402.md 2.3)."""

from collections.abc import Mapping
from typing import Any

from gateway.billing.payment import Bill, Order
from gateway.billing.terms import PaymentTerms
from gateway.signing import Envelope


def usage_metadata(order: Order, terms: PaymentTerms, bill: Bill) -> dict[str, Any]:
    """The ``usageMetadata`` of a settlement."""
    return {
        "request_count": 1,
        "cost_usd": f"{bill.cost_usd:f}",
        "input_tokens": bill.usage.prompt_tokens,
        "output_tokens": bill.usage.completion_tokens,
        "total_tokens": bill.usage.total_tokens,
        "method": "POST",
        "path": order.path,
        "model": bill.model.id,
        "network": terms.network.id,
        "asset": terms.token.address,
        "is_streaming": order.stream,
    }


def wants_settlement_data(headers: Mapping[str, str]) -> bool:
    """Whether the client named a settlement type other than ``private``."""
    kind = headers.get("x-settlement-type")
    return kind is not None and kind.strip().lower() != "private"


def settlement_data(envelope: Envelope) -> dict[str, Any]:
    """The hashes and the signature of an answer."""
    return {
        "tee_id": envelope.tee_id,
        "input_hash": envelope.request_hash,
        "output_hash": envelope.output_hash,
        "tee_signature": envelope.signature,
        "tee_timestamp": envelope.timestamp,
        "timestamp": envelope.timestamp,
    }
