"""x402 payments: the parts of billing composed, and the background tasks that keep them current."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Self

import aiohttp
from prometheus_client import CollectorRegistry

from gateway.billing import definitions as definitions_module
from gateway.billing import facilitator
from gateway.billing.abandonment import AbandonedAnswers
from gateway.billing.capabilities import Capabilities
from gateway.billing.claims import ClaimPolicy
from gateway.billing.definitions import Definitions, Token
from gateway.billing.estimate import Estimator
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import Chain
from gateway.billing.evm.chain_clock import ChainClock
from gateway.billing.evm.rpc import ChainUnavailableError
from gateway.billing.facilitator import Facilitator, FacilitatorUnavailableError
from gateway.billing.gate import Gate
from gateway.billing.journal_check import JournalCheck
from gateway.billing.orphans import OrphanRecovery
from gateway.billing.payment import Order
from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.price_feed import PriceFeed
from gateway.billing.quote import Quoter
from gateway.billing.reconciliation import Reconciler
from gateway.billing.refusals import payment_required, payments_unavailable
from gateway.billing.settlement import Settlements
from gateway.billing.storage.sealed_store import SealedStore
from gateway.billing.storage.sink import SinkUnavailableError, open_sink
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import Store
from gateway.billing.upto_trial import UptoTrial
from gateway.billing.verification import Verifier
from gateway.billing.x402_payment import PaymentContext, X402Payment
from gateway.catalog import Catalog
from gateway.openai_api.errors import GatewayError

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0
"""The longest that the facilitator's Retry-After delays the next reading of its /supported."""
_STALE_CAPABILITY_CODES = frozenset({"payments_unavailable", "unsupported_scheme", "upto_facilitator_mismatch"})
"""Error codes that may mean that the facilitator's /supported has changed since it was last read."""
_START_TIMEOUT = 1.0
"""Seconds that a start or an injection waits for the facilitator and the others. One that answers in time makes a new
worker ready before it takes connections; others are waited for in the background."""


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
        self._metrics = metrics
        self._store = store
        self._session = session
        max_usd = settings.max_usd or definitions.quotes.max_usd
        self._pool = facilitator.connection_pool(settings.facilitator_url)
        self._facilitator = Facilitator(self._pool, definitions, settings.headers)
        self._chain = Chain(session, settings.rpc_url, definitions) if settings.rpc_url else None
        self._clock = settings.clock
        self._deadline_clock = ChainClock(settings.clock)
        self._feed = PriceFeed(
            session, definitions, url=settings.price_url, api_key=settings.price_key, clock=settings.clock
        )
        self._permit_tokens = {token.id for token in definitions.tokens.values() if token.eip2612}
        self._capabilities: Capabilities | None = None
        self._refreshed_at = 0.0
        self._attempted_at = 0.0
        self._refresh_requested = asyncio.Event()
        self._retry_seconds = _RETRY_SECONDS
        self._unavailable_reason = "the facilitator has not responded yet"
        self._journal_check = JournalCheck(store, definitions.settlement.sweep_seconds)
        self._quoter = Quoter(
            definitions,
            self._feed,
            self._fresh_capabilities,
            payee=settings.payee,
            mac_key=settings.mac_key,
            max_usd=max_usd,
            testnets=settings.testnets,
            supports_permits=lambda token: token.id in self._permit_tokens,
        )
        reconciler = Reconciler(self._chain, definitions)
        self.settlements = Settlements(
            store, self._facilitator, reconciler, definitions, clock=self._deadline_clock, metrics=metrics
        )
        context = PaymentContext(
            definitions,
            store,
            self.settlements,
            self._facilitator,
            settings.tee_id,
            self._deadline_clock,
            AbandonedAnswers(definitions.exposure),
        )
        verifier = Verifier(self._facilitator, self._chain)
        policy = ClaimPolicy(definitions.exposure, funds_known=self._chain is not None)
        self._gate = Gate(context, self._quoter, Estimator(catalog, max_usd), verifier, policy, settings.clock)
        self._orphans = OrphanRecovery(store, self.settlements, definitions.settlement, settings.clock)
        self._trial = UptoTrial(context, verifier, policy, evm.address(settings.payee), settings.trial_payer)
        self.settlements.on_end.append(self._trial.on_settlement_end)
        self._tasks: list[asyncio.Task[None]] = []
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
        session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            store = await _open_store(settings, session, definitions, metrics)
            try:
                settings = replace(settings, mac_key=await store.quote_key(settings.mac_key))
            except BaseException:
                await store.close()
                raise
        except BaseException:
            await session.close()
            raise
        payments = cls(settings, catalog, store, session, definitions, metrics)
        try:
            await payments._start()
        except asyncio.CancelledError:
            await payments.close(0)
            raise
        return payments

    async def _start(self) -> None:
        """Start the background tasks, and wait a moment for the first run of each."""
        definitions = self._definitions
        started = [
            self._run_periodically(self._orphans.run, lambda: definitions.settlement.sweep_seconds),
            self._run_periodically(self._refresh_capabilities, self._refresh_interval, self._refresh_requested),
            self._run_periodically(
                self._refresh_chain_state, lambda: definitions.facilitator.supported_refresh_seconds
            ),
            self._run_periodically(self._feed.refresh, lambda: definitions.prices.refresh_seconds),
            self._run_periodically(self._journal_check.run, self._journal_check.interval),
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_TIMEOUT):
                await asyncio.gather(*(first_run.wait() for first_run in started))

    def retire(self) -> None:
        """Stop polling facilitator, chain and price source: new payments go to a successor.

        Admitted payments are settled, and orphaned ones recovered, until ``close``.
        """
        _recovery, *polling = self._tasks
        for task in polling:
            task.cancel()

    async def close(self, seconds: float = 30.0) -> None:
        """Finish settlements for up to ``seconds``; the next worker resumes the others from the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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
            if error.code in _STALE_CAPABILITY_CODES and time.monotonic() - self._attempted_at > self._retry_seconds:
                self._refresh_requested.set()
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
        """A journal that fails is a reason too, but requests are admitted: each finds out whether it still fails."""
        check = self._journal_check
        failing = [] if check.reason is None or check.hangs else [check.reason]
        return failing + self._refusal_reasons()

    def _refusal_reasons(self) -> list[str]:
        """Why no request is admitted. A journal that hangs is a reason: each request would wait for it."""
        if self._journal_check.reason is not None and self._journal_check.hangs:
            return [self._journal_check.reason]
        if self._fresh_capabilities() is None:
            return [self._unavailable_reason]
        if self._quoter.ready:
            return []
        if self._capabilities is not None and self._trial.is_pending(self._capabilities):
            return ["the facilitator has not passed the trial of upto, and no other offer is available"]
        return ["no price is known for any token that the facilitator settles"]

    def _fresh_capabilities(self) -> Capabilities | None:
        age = time.monotonic() - self._refreshed_at
        if self._capabilities is None or age > self._definitions.facilitator.supported_stale_seconds:
            return None
        return self._trial.restrict(self._capabilities)

    async def _refresh_capabilities(self) -> None:
        self._attempted_at = time.monotonic()
        try:
            self._capabilities = await self._facilitator.supported()
            self._refreshed_at = time.monotonic()
            self._retry_seconds = _RETRY_SECONDS
        except FacilitatorUnavailableError as error:
            reason = f"the facilitator is not usable: {error}"
            if reason != self._unavailable_reason:
                log.warning("facilitator not usable", extra={"reason": str(error)})
            self._unavailable_reason = reason
            self._retry_seconds = min(max(_RETRY_SECONDS, error.retry_after or 0.0), _MAX_RETRY_SECONDS)
            return
        self._unavailable_reason = "the facilitator has not responded for too long"
        await self._trial.run(self._capabilities)

    def _refresh_interval(self) -> float:
        known = self._fresh_capabilities() is not None
        return self._definitions.facilitator.supported_refresh_seconds if known else self._retry_seconds

    async def _refresh_chain_state(self) -> None:
        """Read the block time, and whether tokens support EIP-2612 as the definitions say."""
        if self._chain is None:
            return
        try:
            self._deadline_clock.observe(await self._chain.time())
            for token in self._definitions.tokens.values():
                await self._refresh_permit_support(self._chain, token)
        except ChainUnavailableError as error:
            log.warning("chain not readable", extra={"reason": str(error)})

    async def _refresh_permit_support(self, chain: Chain, token: Token) -> None:
        known = await chain.serves(self._definitions.network(token))
        if known and token.eip2612 and not await chain.supports_permits(token):
            self._permit_tokens.discard(token.id)
        elif token.eip2612:
            self._permit_tokens.add(token.id)

    def _run_periodically(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        interval: Callable[[], float],
        wake: asyncio.Event | None = None,
    ) -> asyncio.Event:
        """Run ``work`` in a background task, now and after every ``interval()`` seconds or when ``wake`` is set.

        Errors are logged. The returned event is set once the first run has ended.
        """
        wake = wake or asyncio.Event()
        first_run = asyncio.Event()

        async def forever() -> None:
            while True:
                try:
                    await work()
                except Exception:
                    log.exception("a background task failed")
                first_run.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(interval()):
                        await wake.wait()
                wake.clear()

        self._tasks.append(asyncio.create_task(forever()))
        return first_run


async def _open_store(
    settings: PaymentSettings, session: aiohttp.ClientSession, definitions: Definitions, metrics: PaymentMetrics
) -> Store:
    """Open the database or file; with a sink, replay what an earlier enclave has left there."""
    store: Store
    if settings.store_url is not None:
        from gateway.billing.storage.postgres_store import PostgresStore

        store = await PostgresStore.open(settings.store_url)
    else:
        store = await SqliteStore.open(settings.journal)
    if settings.sink is None or settings.journal_key is None:
        return store
    sealed = SealedStore(store, open_sink(settings.sink, session), settings.journal_key, metrics.journal_append_failed)
    try:
        count = await sealed.replay(settings.clock() - definitions.settlement.retain_seconds)
    except (SinkUnavailableError, asyncio.CancelledError):
        await store.close()
        raise
    log.info("journal replayed", extra={"payments": count})
    return sealed


async def _release_admission(admission: asyncio.Task[X402Payment]) -> None:
    """Release the payment of an admission whose caller was cancelled."""
    try:
        payment = await admission
    except GatewayError:
        return
    await payment.release("client_left")
