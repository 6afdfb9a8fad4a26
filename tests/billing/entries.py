"""Journal entries as tests need them."""

import secrets
import time
from decimal import Decimal
from typing import Any

import msgspec

from gateway.billing.claims import ClaimPolicy
from gateway.billing.definitions import bundled
from gateway.billing.journal import Entry
from gateway.billing.storage.store import Store
from gateway.billing.x402 import ForwardedPayment

PAYER = b"\xaa" * 20
PAYMENT = ForwardedPayment(
    x402_version=2, payload=msgspec.Raw(b"{}"), accepted=msgspec.Raw(b'{"network":"eip155:8453"}')
)
POLICY = ClaimPolicy(bundled().exposure, funds_known=False)
FUNDED = ClaimPolicy(bundled().exposure, funds_known=True)


def entry(**changes: Any) -> Entry:
    """A claim of one USD in OPG at 0.1 USD, good for ten minutes."""
    fields: dict[str, Any] = {
        "key": b"\0" * 48 + secrets.token_bytes(32),
        "owner": "worker",
        "payer": PAYER,
        "asset": "eip155:8453/0xopg",
        "scheme": "upto",
        "cap": 10**19,
        "cap_usd": Decimal(1),
        "rate": Decimal("0.1"),
        "deadline": int(time.time()) + 600,
        "payment": PAYMENT,
    }
    return Entry(**fields | changes)


def owned_by(store: Store, payment: Entry) -> Entry:
    """The claim as the worker of ``store`` makes it."""
    return msgspec.structs.replace(payment, owner=store.owner)
