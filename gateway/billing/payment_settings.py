"""What an operator configures about payments at run time; everything else is in ``definitions.toml``."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from gateway.billing.facilitator import HeaderProvider
from gateway.billing.price_feed import COINGECKO
from gateway.billing.upto_trial import TrialPayer


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettings:
    """Run-time configuration of x402 payments.

    ``max_usd`` is the most that one request may cost. ``mac_key`` authenticates quotes unless the store already holds a
    key. ``journal`` is the path of the SQLite file; ``store_url`` is a PostgreSQL URL to use instead, shared by several
    gateways with one payee. ``sink`` is the URL (http, https or file) that the journal is copied to, sealed under
    ``journal_key`` (32 bytes). ``headers`` authorizes requests to a hosted facilitator. ``trial_payer`` tests partial
    settlement before ``upto`` is offered. ``clock`` is the Unix time that deadlines are checked against.
    """

    payee: str
    facilitator_url: str
    journal: Path
    max_usd: Decimal
    mac_key: bytes = field(repr=False)
    rpc_url: str | None = field(default=None, repr=False)
    price_url: str = COINGECKO
    price_key: str | None = field(default=None, repr=False)
    store_url: str | None = field(default=None, repr=False)
    sink: str | None = None
    journal_key: bytes | None = field(default=None, repr=False)
    headers: HeaderProvider | None = None
    trial_payer: TrialPayer | None = field(default=None, repr=False)
    clock: Callable[[], float] = time.time
