"""What an operator configures about payments at run time; everything else is in ``definitions.toml``."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from gateway.billing.evm import values as evm
from gateway.billing.facilitator import HeaderProvider
from gateway.billing.price_feed import COINGECKO
from gateway.billing.upto_trial import TrialPayer


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettings:
    """Run-time configuration of x402 payments.

    ``mac_key`` authenticates quotes unless the store already holds a key. ``journal`` is the path of the SQLite file;
    ``store_url`` is a PostgreSQL URL to use instead, shared by several gateways with one payee. ``sink`` is the URL
    (http, https or file) that the journal is copied to, sealed under ``journal_key`` (32 bytes). ``headers`` authorizes
    requests to a hosted facilitator. ``testnets`` accepts payments without value. ``trial_payer`` tests partial
    settlement before ``upto`` is offered. ``clock`` is the Unix time that deadlines are checked against.
    """

    payee: str
    facilitator_url: str
    journal: Path
    mac_key: bytes = field(repr=False)
    max_usd: Decimal | None = None
    rpc_url: str | None = field(default=None, repr=False)
    price_url: str = COINGECKO
    price_key: str | None = field(default=None, repr=False)
    tee_id: str = ""
    testnets: bool = False
    store_url: str | None = field(default=None, repr=False)
    sink: str | None = None
    journal_key: bytes | None = field(default=None, repr=False)
    headers: HeaderProvider | None = None
    trial_payer: TrialPayer | None = field(default=None, repr=False)
    clock: Callable[[], float] = time.time

    def problems(self) -> list[str]:
        """Why no payment could ever be taken with these settings; empty if they are valid."""
        problems = []
        try:
            if not any(evm.address(self.payee)):
                problems.append("the payee must not be the zero address")
        except ValueError:
            problems.append("the payee is not an address")
        if not self.facilitator_url.startswith(("https://", "http://")):
            problems.append("the facilitator is not an http or https URL")
        if self.max_usd is not None and self.max_usd <= 0:
            problems.append("the maximum cost of a request must be above zero")
        if self.sink is not None and (self.journal_key is None or len(self.journal_key) != 32):
            problems.append("the journal sink requires a journal key of 32 bytes")
        return problems
