"""Payments that begin when they are configured: from the environment at the start, or by the one-time injection.

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
from gateway.openai_api.errors import GatewayError, invalid_request
from gateway.settings import Settings

JOURNAL = "gateway-journal.sqlite3"
HOST_SINK = "http://192.168.127.254:8010/"
"""``tools.journal_sink`` on the host's loopback, as gvproxy shows that to the enclave. A constant of the image, which
comes to life when the operator injects a journal key."""
_START_SECONDS = 10.0
_AGAIN_SECONDS = 5.0
log = logging.getLogger(__name__)


class DeferredPayments:
    """Implements Payments by whatever is configured now."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        tee_id: str,
        mac_key: bytes,
        clock: Callable[[], float],
        metrics: PaymentMetrics,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._tee_id = tee_id
        self._mac_key = mac_key
        self._clock = clock
        self._metrics = metrics
        self._opened: list[X402Payments] = []
        self._latest: PaymentSettings | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._now: Payments = PaymentsUnconfigured(["payments are not configured"])

    async def configure(self, injection: Injection | None = None) -> None:
        """Begin to take payments when payee and facilitator are known; an injected fact wins.

        Raises 400 for facts that no payment could ever be taken with, and leaves everything as it was. With a sink,
        payments begin once it has been read, which goes on in the background.
        """
        facts = injection or Injection()
        payee = facts.evm_payment_address or self._settings.pay_to
        facilitator = facts.facilitator_url or self._settings.facilitator_url
        if payee is None or facilitator is None or self._awaits_journal_key(facts):
            known = {
                "EVM_PAYMENT_ADDRESS is not set": payee is not None,
                "FACILITATOR_URL is not set": facilitator is not None,
                "no journal_key was injected for GATEWAY_JOURNAL_SINK": not self._awaits_journal_key(facts),
            }
            self._now = PaymentsUnconfigured([reason for reason, fulfilled in known.items() if not fulfilled])
            return
        sink = self._sink(facts)
        settings = PaymentSettings(
            payee=payee,
            facilitator_url=facilitator,
            journal=self._journal(),
            mac_key=self._mac_key,
            max_usd=self._settings.max_usd,
            rpc_url=facts.evm_rpc_url or self._settings.rpc_url,
            price_url=self._settings.price_url or COINGECKO,
            price_key=facts.coingecko_api_key,
            tee_id=self._tee_id,
            store_url=self._settings.store,
            sink=sink,
            journal_key=journal_key(facts.journal_key) if facts.journal_key else None,
            trial_payer=_trial_payer(facts.upto_trial_key or self._settings.upto_trial_key),
            clock=self._clock,
        )
        if problems := settings.problems():
            raise invalid_request(f"No payment can be taken: {'; '.join(problems)}.")
        await self._stop_beginning()
        if self._latest == settings:
            self._now = self._opened[-1]
        elif sink is not None:
            await self._begin_once_read(settings)
        else:
            if self._settings.enclave:
                log.warning("no journal_key was injected: what is unsettled is lost with this enclave")
            await self._begin(settings)

    async def close(self) -> None:
        """Settle what is under way."""
        await self._stop_beginning()
        await asyncio.gather(*(payments.close(self._settings.drain_seconds) for payments in self._opened))

    async def _begin(self, settings: PaymentSettings) -> None:
        """Those that were opened before stay open: what they have admitted ends as it was agreed."""
        opened = await X402Payments.open(settings, self._catalog, metrics=self._metrics)
        for earlier in self._opened:
            earlier.retire()
        self._opened.append(opened)
        self._latest, self._now = settings, opened

    async def _begin_once_read(self, settings: PaymentSettings) -> None:
        """Take no payment before it is known what an earlier enclave was paid with: its answers would be had twice."""
        self._now = PaymentsUnconfigured(["the journal is being read back from its sink"])
        tried = asyncio.Event()
        self._beginning = asyncio.create_task(self._try_to_begin(settings, tried))
        with suppress(TimeoutError):
            await asyncio.wait_for(tried.wait(), _START_SECONDS)
        if self._beginning.done():
            await self._beginning

    async def _try_to_begin(self, settings: PaymentSettings, tried: asyncio.Event) -> None:
        """Until it succeeds; ``tried`` is set after the first time."""
        while True:
            try:
                return await self._begin(settings)
            except (SinkUnavailableError, StoreUnavailableError) as error:
                self._now = PaymentsUnconfigured([f"the journal cannot be read back: {error}"])
                log.warning("journal not read back", extra={"reason": str(error)})
            finally:
                tried.set()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _stop_beginning(self) -> None:
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.gather(self._beginning, return_exceptions=True)
            self._beginning = None

    def admit(self, order: Order) -> Coroutine[Any, Any, Payment]:
        return self._now.admit(order)

    def challenge(self, resource_url: str) -> GatewayError | None:
        return self._now.challenge(resource_url)

    def reasons(self) -> list[str]:
        return self._now.reasons()

    def _awaits_journal_key(self, facts: Injection) -> bool:
        return self._settings.journal_sink is not None and not facts.journal_key

    def _sink(self, facts: Injection) -> str | None:
        """Where the journal is copied to: as the environment says, or from an enclave to its host."""
        at_hand = HOST_SINK if self._settings.enclave and facts.journal_key else None
        return self._settings.journal_sink or at_hand

    def _journal(self) -> Path:
        """Inside an enclave there is no disk, only memory under the temporary folder."""
        if self._settings.journal is not None:
            return Path(self._settings.journal)
        return Path(tempfile.gettempdir() if self._settings.enclave else ".") / JOURNAL


def _trial_payer(key: str | None) -> TrialPayer | None:
    return None if key is None else TrialPayer.of(key)
