"""Payments that open once they are configured: from the environment at the start, or by the one-time injection.

Until then paid routes fail closed. What an operator chooses (payee, facilitator, RPC) is a run-time fact, so that two
operators' images measure the same (design 4.6).
"""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.billing.payment import Order, Payment, Payments
from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.payments import X402Payments
from gateway.billing.price_feed import COINGECKO
from gateway.billing.storage.sink import SinkUnavailableError
from gateway.billing.storage.store import StoreUnavailableError
from gateway.billing.unpaid import PaymentsUnconfigured
from gateway.billing.upto_trial import TrialPayer
from gateway.catalog import Catalog
from gateway.keyring import Injection, journal_key
from gateway.openai_api.errors import GatewayError
from gateway.settings import Settings

JOURNAL = "gateway-journal.sqlite3"
HOST_SINK = "http://192.168.127.254:8010/"
"""``tools.journal_sink`` on the host's loopback, at the address that gvproxy gives it in the enclave. A constant of the
image, used once the operator injects a journal key."""
_START_TIMEOUT = 10.0
_RETRY_SECONDS = 5.0
log = logging.getLogger(__name__)


class DeferredPayments:
    """Implements Payments by delegation to the current configuration."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        mac_key: bytes,
        clock: Callable[[], float],
        metrics: PaymentMetrics,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._mac_key = mac_key
        self._clock = clock
        self._metrics = metrics
        self._opened: list[X402Payments] = []
        self._latest: PaymentSettings | None = None
        self._opening: asyncio.Task[None] | None = None
        self._current: Payments = PaymentsUnconfigured(["payments are not configured"])

    async def configure(self, injection: Injection | None = None) -> None:
        """Open payments if payee and facilitator are known; injected values override the environment.

        With a sink, payments open once it has been replayed, in the background if that takes long.
        """
        injected = injection or Injection()
        payee = injected.evm_payment_address or self._settings.pay_to
        facilitator = injected.facilitator_url or self._settings.facilitator_url
        lacks_journal_key = self._settings.journal_sink is not None and not injected.journal_key
        if payee is None or facilitator is None or lacks_journal_key:
            lacking = {
                "EVM_PAYMENT_ADDRESS is not set": payee is None,
                "FACILITATOR_URL is not set": facilitator is None,
                "no journal_key was injected for GATEWAY_JOURNAL_SINK": lacks_journal_key,
            }
            self._current = PaymentsUnconfigured([reason for reason, applies in lacking.items() if applies])
            return
        settings = self._payment_settings(injected, payee, facilitator)
        await self._cancel_opening()
        if self._latest == settings:
            self._current = self._opened[-1]
        elif settings.sink is not None:
            await self._open_after_replay(settings)
        else:
            if self._settings.enclave:
                log.warning("no journal_key was injected: unsettled payments are lost when this enclave stops")
            await self._open(settings)

    def _payment_settings(self, injected: Injection, payee: str, facilitator: str) -> PaymentSettings:
        trial_key = injected.upto_trial_key or self._settings.upto_trial_key
        return PaymentSettings(
            payee=payee,
            facilitator_url=facilitator,
            journal=self._journal(),
            mac_key=self._mac_key,
            max_usd=self._settings.max_usd,
            rpc_url=injected.evm_rpc_url or self._settings.rpc_url,
            price_url=self._settings.price_url or COINGECKO,
            price_key=injected.coingecko_api_key,
            store_url=self._settings.store,
            sink=self._sink(injected),
            journal_key=journal_key(injected.journal_key) if injected.journal_key else None,
            trial_payer=TrialPayer.from_key(trial_key) if trial_key else None,
            clock=self._clock,
        )

    async def close(self) -> None:
        """Finish the settlements of all configurations."""
        await self._cancel_opening()
        await asyncio.gather(*(payments.close(self._settings.drain_seconds) for payments in self._opened))

    async def _open(self, settings: PaymentSettings) -> None:
        """Earlier configurations stay open to settle the payments that they admitted."""
        opened = await X402Payments.open(settings, self._catalog, metrics=self._metrics)
        for earlier in self._opened:
            earlier.retire()
        self._opened.append(opened)
        self._latest, self._current = settings, opened

    async def _open_after_replay(self, settings: PaymentSettings) -> None:
        """Take no payment before the sink is replayed: authorizations that are already used would be accepted."""
        self._current = PaymentsUnconfigured(["the journal is being restored from its sink"])
        attempted = asyncio.Event()
        self._opening = asyncio.create_task(self._open_with_retries(settings, attempted))
        with suppress(TimeoutError):
            await asyncio.wait_for(attempted.wait(), _START_TIMEOUT)
        if self._opening.done():
            await self._opening

    async def _open_with_retries(self, settings: PaymentSettings, attempted: asyncio.Event) -> None:
        """Retry until it succeeds; ``attempted`` is set after the first attempt."""
        while True:
            try:
                return await self._open(settings)
            except (SinkUnavailableError, StoreUnavailableError) as error:
                reason = error if isinstance(error, SinkUnavailableError) else "it cannot be opened"
                self._current = PaymentsUnconfigured([f"the journal cannot be restored: {reason}"])
                log.warning("journal not read back", extra={"reason": str(error)})
            finally:
                attempted.set()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _cancel_opening(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
            self._opening = None

    def admit(self, order: Order) -> Coroutine[Any, Any, Payment]:
        return self._current.admit(order)

    def challenge(self, resource_url: str) -> GatewayError | None:
        return self._current.challenge(resource_url)

    def reasons(self) -> list[str]:
        return self._current.reasons()

    def _sink(self, injected: Injection) -> str | None:
        """The URL that the journal is copied to: from the environment, or the host of an enclave."""
        default = HOST_SINK if self._settings.enclave and injected.journal_key else None
        return self._settings.journal_sink or default

    def _journal(self) -> Path:
        """The journal's path; an enclave has no disk, only a temporary folder in memory."""
        if self._settings.journal is not None:
            return Path(self._settings.journal)
        return Path(tempfile.gettempdir() if self._settings.enclave else ".") / JOURNAL
