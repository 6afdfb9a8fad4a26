"""x402 payments: the parts of billing composed, and the background tasks that keep them current."""

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Self

import aiohttp
from prometheus_client import CollectorRegistry

from gateway.billing import definitions as definitions_module
from gateway.billing import facilitator
from gateway.billing.abandonment import AbandonedAnswers
from gateway.billing.chain_check import ChainCheck
from gateway.billing.claims import ClaimPolicy
from gateway.billing.current_capabilities import CurrentCapabilities
from gateway.billing.definitions import Definitions
from gateway.billing.estimate import Estimator
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import Chain
from gateway.billing.evm.chain_clock import ChainClock
from gateway.billing.evm.permit_support import PermitSupport
from gateway.billing.facilitator import Facilitator
from gateway.billing.gate import Gate
from gateway.billing.journal_check import JournalCheck
from gateway.billing.orphans import OrphanRecovery
from gateway.billing.payment import Order
from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.periodic_task import PeriodicTask
from gateway.billing.price_feed import PriceFeed
from gateway.billing.quote import Quoter
from gateway.billing.reconciliation import Reconciler
from gateway.billing.refusals import payment_required, payments_unavailable
from gateway.billing.settlement import Settlements
from gateway.billing.storage.sealed_store import SealedStore
from gateway.billing.storage.sink import open_sink
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import Store
from gateway.billing.upto_trial import UptoTrial
from gateway.billing.verification import Verifier
from gateway.billing.x402_payment import PaymentContext, X402Payment
from gateway.catalog import Catalog
from gateway.http_client.connector import Connector
from gateway.openai_api.errors import GatewayError

log = logging.getLogger(__name__)

_START_TIMEOUT = 1.0
"""Seconds that a start or an injection waits for the facilitator and the others. One that answers in time makes a new
worker ready before it takes connections; others are waited for in the background."""
_REPLAY_SECONDS = 600.0
"""Longest replay of a sink. Payments that other workers prune meanwhile are left out, or their credit
would count twice."""


class X402Payments:
    """Implements Payments. Create it with ``open``; ``close`` it at the end."""

    def __init__(
        self,
        settings: PaymentSettings,
        catalog: Catalog,
        store: Store,
        session: aiohttp.ClientSession,
        definitions: Definitions,
        metrics: PaymentMetrics,
    ) -> None:
        self._definitions = definitions
        self._store = store
        self._session = session
        self._metrics = metrics
        self._clock = settings.clock
        self._deadline_clock = ChainClock(settings.clock)
        chain = Chain(session, settings.rpc_url, definitions) if settings.rpc_url else None
        permit_support = PermitSupport(definitions)
        self._chain_check = ChainCheck(chain, self._deadline_clock, permit_support, definitions)
        self._journal_check = JournalCheck(store, definitions.settlement.sweep_seconds)
        self._feed = PriceFeed(
            session, definitions, url=settings.price_url, api_key=settings.price_key, clock=settings.clock
        )
        self._pool = facilitator.connection_pool(settings.facilitator_url)
        self._facilitator = Facilitator(self._pool, definitions, settings.headers)
        self.settlements = Settlements(
            store,
            self._facilitator,
            Reconciler(chain, definitions),
            definitions,
            clock=self._deadline_clock,
            metrics=metrics,
        )
        self._orphans = OrphanRecovery(store, self.settlements, definitions.settlement, settings.clock)
        abandoned = AbandonedAnswers(definitions.exposure)
        context = PaymentContext(
            definitions, store, self.settlements, self._facilitator, self._deadline_clock, abandoned
        )
        verifier = Verifier(self._facilitator, chain)
        policy = ClaimPolicy(definitions.exposure, funds_known=chain is not None, abandoned=abandoned)
        trial = UptoTrial(context, verifier, policy, evm.address(settings.payee), settings.trial_payer)
        self.settlements.on_end.append(trial.on_settlement_end)
        self._capabilities = CurrentCapabilities(self._facilitator, trial, definitions.facilitator)
        self._quoter = Quoter(
            definitions,
            self._feed,
            self._capabilities.get,
            payee=settings.payee,
            mac_key=settings.mac_key,
            max_usd=settings.max_usd,
            supports_permits=permit_support.has,
        )
        estimator = Estimator(catalog, settings.max_usd)
        self._gate = Gate(context, self._quoter, estimator, verifier, policy, settings.clock)
        metrics.watch_tasks(lambda: self.settlements.task_count)
        metrics.watch_clock(lambda: self._deadline_clock.lag)
        for token in self._feed.tokens():
            metrics.watch_price(token, partial(self._feed.age, token))

    @classmethod
    async def open(
        cls,
        settings: PaymentSettings,
        catalog: Catalog,
        definitions: Definitions | None = None,
        metrics: PaymentMetrics | None = None,
    ) -> Self:
        """Open the journal, recover orphaned payments, read facilitator, chain and prices.

        Facilitator, chain and price source may be unavailable: they are polled in the background, and ``reasons`` says
        what is missing. Raises StoreUnavailableError if the journal cannot be written, SinkUnavailableError if the sink
        cannot be read.
        """
        if definitions is None:
            definitions = await asyncio.to_thread(definitions_module.bundled)
        metrics = metrics or PaymentMetrics(CollectorRegistry())
        async with AsyncExitStack() as opened:
            session = await opened.enter_async_context(
                aiohttp.ClientSession(connector=Connector(), cookie_jar=aiohttp.DummyCookieJar())
            )
            store = await _open_store(opened, settings, session, definitions, metrics)
            settings = replace(settings, mac_key=await store.quote_key(settings.mac_key))
            opened.pop_all()
        payments = cls(settings, catalog, store, session, definitions, metrics)
        try:
            await payments._start()
        except asyncio.CancelledError:
            await payments.close(0)
            raise
        return payments

    async def _start(self) -> None:
        """Start the background tasks, and wait a moment for the first run of each."""
        definitions, capabilities = self._definitions, self._capabilities
        self._recovery = PeriodicTask(self._orphans.run, lambda: definitions.settlement.sweep_seconds)
        self._polling = [
            PeriodicTask(capabilities.refresh, capabilities.interval, capabilities.refresh_requested),
            PeriodicTask(self._chain_check.run, self._chain_check.interval, self._chain_check.requested),
            PeriodicTask(self._feed.refresh, lambda: definitions.prices.refresh_seconds),
            PeriodicTask(self._journal_check.run, self._journal_check.interval),
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_TIMEOUT):
                for task in (self._recovery, *self._polling):
                    await task.first_run.wait()

    def retire(self) -> None:
        """Stop polling facilitator, chain and price source: new payments go to a successor.

        Admitted payments are settled, and orphaned ones recovered, until ``close``.
        """
        for task in self._polling:
            task.cancel()

    async def close(self, seconds: float = 30.0) -> None:
        """Finish settlements for up to ``seconds``; the next worker resumes the others from the journal."""
        await asyncio.gather(*(task.stop() for task in (self._recovery, *self._polling)))
        if left := await self.settlements.drain(seconds):
            log.warning("settlements left to the next worker", extra={"left": left})
        await self._store.close()
        await self._pool.close()
        await self._session.close()

    async def admit(self, order: Order) -> X402Payment:
        """Admit a request; its payment is released if the caller is cancelled meanwhile."""
        if reasons := self._refusal_reasons():
            raise payments_unavailable(reasons)
        admission = asyncio.get_running_loop().create_task(self._gate.admit(order))
        try:
            return await asyncio.shield(admission)
        except GatewayError as error:
            self._metrics.refused(error)
            self._capabilities.on_refusal(error.code)
            self._chain_check.on_refusal(error.code)
            raise
        except asyncio.CancelledError:
            self.settlements.detach(_release_admission(admission))
            raise

    def challenge(self, resource_url: str) -> GatewayError:
        if reasons := self._refusal_reasons():
            return payments_unavailable(reasons)
        error = (
            "The request body is too large to be read without a payment; the quote is the maximum cost of a request."
        )
        required = self._quoter.required(resource_url, None, error, self._clock(), stream=True)
        return payment_required(required, "payment_required")

    def reasons(self) -> list[str]:
        """Why paid requests may fail now.

        Not all reasons refuse them at once: after a failure of journal, chain or facilitator each request finds out
        whether it persists.
        """
        failing = self._journal_check.reason, self._chain_check.reason, self._capabilities.reason
        return list(dict.fromkeys([reason for reason in failing if reason is not None] + self._refusal_reasons()))

    def _refusal_reasons(self) -> list[str]:
        """Why no request is admitted. A journal that hangs is a reason: each request would wait for it."""
        if self._journal_check.reason is not None and self._journal_check.hangs:
            return [self._journal_check.reason]
        if self._capabilities.get() is None:
            return [self._capabilities.reason or "the facilitator has not responded for too long"]
        if self._quoter.ready:
            return []
        if self._capabilities.awaits_trial:
            return ["the facilitator has not passed the trial of upto, and no other offer is available"]
        return ["no price is known for any token that the facilitator settles"]


async def _open_store(
    opened: AsyncExitStack,
    settings: PaymentSettings,
    session: aiohttp.ClientSession,
    definitions: Definitions,
    metrics: PaymentMetrics,
) -> Store:
    """Open the database or file, to be closed by ``opened``; with a sink, replay what an earlier enclave left there."""
    store: Store
    if settings.store_url is not None:
        from gateway.billing.storage.postgres_store import PostgresStore

        store = await PostgresStore.open(settings.store_url)
    else:
        store = await SqliteStore.open(settings.journal)
    opened.push_async_callback(store.close)
    if settings.sink is None or settings.journal_key is None:
        return store
    sealed = SealedStore(store, open_sink(settings.sink, session), settings.journal_key, metrics.journal_append_failed)
    count = await sealed.replay(settings.clock() - definitions.settlement.retain_seconds + _REPLAY_SECONDS)
    log.info("journal replayed", extra={"payments": count})
    return sealed


async def _release_admission(admission: asyncio.Task[X402Payment]) -> None:
    """Release the payment of an admission whose caller was cancelled."""
    try:
        payment = await admission
    except GatewayError:
        return
    await payment.release("client_left")
