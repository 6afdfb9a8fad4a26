"""Payments over x402: everything of billing put together, with what has to go on in the background."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiohttp
from prometheus_client import CollectorRegistry

from gateway.billing import definitions as measured
from gateway.billing import facilitator
from gateway.billing.capabilities import Capabilities
from gateway.billing.claims import ClaimPolicy
from gateway.billing.definitions import Definitions, Token
from gateway.billing.estimate import Estimator
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import Chain, ChainUnavailableError
from gateway.billing.evm.chain_clock import ChainClock
from gateway.billing.facilitator import Facilitator, FacilitatorUnavailableError, HeaderProvider
from gateway.billing.gate import Gate
from gateway.billing.journal import BEFORE_SETTLING, Entry, IllegalTransitionError, State
from gateway.billing.payment import Order
from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.price_feed import COINGECKO, PriceFeed
from gateway.billing.quote import Quoter
from gateway.billing.reconciliation import Reconciler
from gateway.billing.refusals import payment_required
from gateway.billing.settlement import Settlements
from gateway.billing.storage.sealed_store import SealedStore
from gateway.billing.storage.sink import SinkUnavailableError, open_sink
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import Store, StoreUnavailableError
from gateway.billing.unpaid import payments_unavailable
from gateway.billing.upto_trial import TrialPayer, UptoTrial
from gateway.billing.verification import Verifier
from gateway.billing.x402_payment import PaymentContext, X402Payment
from gateway.catalog import Catalog
from gateway.openai_api.errors import GatewayError

log = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 1.0
_DOUBTS = frozenset({"payments_unavailable", "unsupported_scheme", "upto_facilitator_mismatch"})
"""Refusals that may come of what the facilitator said of itself and has changed since."""
_START_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSettings:
    """What an operator tells of payments at run time; everything else is in the definitions.

    ``mac_key`` authenticates quotes, unless the store has a key for them already. ``journal`` is the path of the
    embedded store's file; ``store_url`` a PostgreSQL database instead of it, for several gateways with one payee.
    ``sink`` is the URL (http, https or file) of the journal's sealed copy under ``journal_key``, 32 bytes.
    ``headers`` authorizes calls to a hosted facilitator. ``testnets`` takes payments that are worth nothing.
    ``trial_payer`` tries partial settlement before it is offered. ``clock`` is Unix time, that deadlines are held
    against.
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
        """Why no payment could ever be taken with these; empty when it can."""
        problems = []
        try:
            if not any(evm.address(self.payee)):
                problems.append("the payee is the zero address")
        except ValueError:
            problems.append("the payee is not an address")
        if not self.facilitator_url.startswith(("https://", "http://")):
            problems.append("the facilitator is not an http or https URL")
        if self.max_usd is not None and self.max_usd <= 0:
            problems.append("the most that a request may cost is not above zero")
        if self.sink is not None and (self.journal_key is None or len(self.journal_key) != 32):
            problems.append("the journal sink needs a journal key of 32 bytes")
        return problems


class X402Payments:
    """Implements Payments. Use ``open`` and, at the end, ``close``."""

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
        self._asked_at = 0.0
        self._tried_at = 0.0
        self._doubted = asyncio.Event()
        self._why_none = "the facilitator has not been asked yet"
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
            definitions, store, self.settlements, self._facilitator, settings.tee_id, self._deadline_clock
        )
        verifier = Verifier(self._facilitator, self._chain)
        policy = ClaimPolicy(definitions.exposure, funds_known=self._chain is not None)
        self._gate = Gate(context, self._quoter, Estimator(catalog, max_usd), verifier, policy, settings.clock)
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
        """Starts taking payments: takes over what the last worker left, asks facilitator and price source.

        Either may be away: they are asked again in the background, and until they answer ``reasons`` says so. Raises
        StoreUnavailableError for a journal that cannot be written, SinkUnavailableError for a sink that cannot be read.
        """
        if definitions is None:
            definitions = await asyncio.to_thread(measured.bundled)
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
        begun = [
            payments._repeat(payments._sweep, lambda: payments._definitions.settlement.sweep_seconds),
            payments._repeat(payments._ask_facilitator, payments._asking_pause, payments._doubted),
            payments._repeat(
                payments._look_at_chain, lambda: payments._definitions.facilitator.supported_refresh_seconds
            ),
            payments._repeat(payments._feed.refresh, lambda: payments._definitions.prices.refresh_seconds),
        ]
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_START_SECONDS):
                    await asyncio.gather(*(first.wait() for first in begun))
        except asyncio.CancelledError:
            await payments.close(0)
            raise
        return payments

    def retire(self) -> None:
        """Others take the payments from now on: facilitator, chain and price source are not polled any more. What was
        admitted ends as it was agreed."""
        _sweeping, *polling = self._tasks
        for task in polling:
            task.cancel()

    async def close(self, seconds: float = 30.0) -> None:
        """Settle what is under way; what does not end in time is in the journal and resumed by the next worker."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if left := await self.settlements.drain(seconds):
            log.warning("settlements left to the next worker", extra={"left": left})
        await self._store.close()
        await self._pool.close()
        await self._session.close()

    async def admit(self, order: Order) -> X402Payment:
        """A request that is cancelled while its payment is being verified releases it."""
        if reasons := self.reasons():
            raise payments_unavailable(reasons)
        admission = asyncio.get_running_loop().create_task(self._gate.admit(order))
        try:
            return await asyncio.shield(admission)
        except GatewayError as error:
            self._metrics.refused(error)
            if error.code in _DOUBTS and time.monotonic() - self._tried_at > _ASK_AGAIN_SECONDS:
                self._doubted.set()
            raise
        except asyncio.CancelledError:
            self.settlements.detach(_release(admission))
            raise

    def challenge(self, resource_url: str) -> GatewayError:
        if reasons := self.reasons():
            return payments_unavailable(reasons)
        error = "This body is too large to be read unpaid; it is quoted at the most that a request may cost."
        required = self._quoter.required(resource_url, None, error, self._clock(), stream=True)
        return payment_required(required, "payment_required")

    def reasons(self) -> list[str]:
        if self._fresh_capabilities() is None:
            return [self._why_none]
        if self._quoter.ready:
            return []
        if self._capabilities is not None and self._trial.waiting(self._capabilities):
            return ["upto has not passed its trial, and nothing else can be offered"]
        return ["no token that the facilitator settles has a price"]

    def _fresh_capabilities(self) -> Capabilities | None:
        age = time.monotonic() - self._asked_at
        if self._capabilities is None or age > self._definitions.facilitator.supported_stale_seconds:
            return None
        return self._trial.trusted(self._capabilities)

    async def _ask_facilitator(self) -> None:
        self._tried_at = time.monotonic()
        try:
            self._capabilities = await self._facilitator.supported()
            self._asked_at = time.monotonic()
        except FacilitatorUnavailableError as error:
            why = f"the facilitator is not usable: {error}"
            if why != self._why_none:
                log.warning("facilitator not usable", extra={"reason": str(error)})
            self._why_none = why
            return
        self._why_none = "the facilitator has not been heard for too long"
        await self._trial.run(self._capabilities)

    def _asking_pause(self) -> float:
        known = self._fresh_capabilities() is not None
        return self._definitions.facilitator.supported_refresh_seconds if known else _ASK_AGAIN_SECONDS

    async def _look_at_chain(self) -> None:
        """Its time, and whether tokens have EIP-2612 there, which is declared where the chain cannot be read."""
        if self._chain is None:
            return
        try:
            self._deadline_clock.observe(await self._chain.time())
            for token in self._definitions.tokens.values():
                await self._look_at_token(self._chain, token)
        except ChainUnavailableError as error:
            log.warning("chain not readable", extra={"reason": str(error)})

    async def _look_at_token(self, chain: Chain, token: Token) -> None:
        known = await chain.serves(self._definitions.network(token))
        if known and token.eip2612 and not await chain.supports_permits(token):
            self._permit_tokens.discard(token.id)
        elif token.eip2612:
            self._permit_tokens.add(token.id)

    async def _sweep(self) -> None:
        """End what nobody looks after any more: settle what was served, charge nothing for the rest."""
        now = self._clock()
        try:
            for entry in await self._store.adopt(now):
                await self._end(entry)
            await self._store.prune(now - self._definitions.settlement.retain_seconds)
        except StoreUnavailableError as error:
            log.warning("journal not swept", extra={"reason": str(error)})

    async def _end(self, entry: Entry) -> None:
        """What cannot be written now keeps nothing else from its end."""
        log.warning("orphaned payment", extra={"payment": entry.id, "state": entry.state.value})
        if entry.state not in BEFORE_SETTLING and not entry.unserved:
            self.settlements.resume(entry)
            return
        end, changes = _without_answer(entry)
        try:
            await self._store.move(entry, end, **changes)
        except StoreUnavailableError as error:
            log.warning("orphan not ended at once", extra={"payment": entry.id, "reason": str(error)})
            self.settlements.detach(self._end_when_possible(entry, end, changes))
        except IllegalTransitionError as error:
            log.info("no orphan after all", extra={"payment": entry.id, "state": error.origin.value})

    async def _end_when_possible(self, entry: Entry, end: State, changes: dict[str, Any]) -> None:
        await self.settlements.write(self._store.move, entry, end, **changes)

    def _repeat(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        pause: Callable[[], float],
        sooner: asyncio.Event | None = None,
    ) -> asyncio.Event:
        """Do ``work`` for ever, whatever becomes of it, after a pause that ``sooner`` ends; the event is set when it
        was done once."""
        sooner = sooner or asyncio.Event()
        first = asyncio.Event()

        async def forever() -> None:
            while True:
                try:
                    await work()
                except Exception:
                    log.exception("a task in the background failed")
                first.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause()):
                        await sooner.wait()
                sooner.clear()

        self._tasks.append(asyncio.create_task(forever()))
        return first


def _without_answer(entry: Entry) -> tuple[State, dict[str, Any]]:
    """The end of a payment whose worker was lost before its answer was complete."""
    note = "its worker was lost before the answer was complete"
    if entry.unserved:
        return State.SERVED, {"note": f"credited: {note}", "credited": entry.cap}
    return State.WAIVED, {"note": note, "credited": entry.cap} if entry.by_credit else {"note": note}


async def _open_store(
    settings: PaymentSettings, session: aiohttp.ClientSession, definitions: Definitions, metrics: PaymentMetrics
) -> Store:
    """The database or file, and behind it the sink that an earlier enclave may have left something in."""
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


async def _release(admission: asyncio.Task[X402Payment]) -> None:
    """Nobody waits for this admission any more."""
    try:
        payment = await admission
    except GatewayError:
        return
    await payment.release("client_left")
