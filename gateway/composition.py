"""Creates and connects the services of one process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.admission import Admission
from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.unpaid import PaymentsDisabled
from gateway.catalog import Catalog, bundled
from gateway.clock import Clock
from gateway.clock_guard import ClockGuard
from gateway.deferred_payments import DeferredPayments
from gateway.heartbeat import Heartbeat
from gateway.identity import Identity
from gateway.keyring import Keyring
from gateway.nsm import Nsm
from gateway.services import Services
from gateway.settings import NSM_DEVICE, Settings
from gateway.single_process import SingleProcess
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer
from gateway.upstreams.fetch import FileFetcher
from gateway.upstreams.registry import adapters
from gateway.upstreams.signature_cache import SignatureCache
from gateway.upstreams.transport import Limits, Transport
from gateway.upstreams.upstream import Upstream


@asynccontextmanager
async def compose(
    settings: Settings,
    *,
    catalog: Catalog | None = None,
    identity: Identity | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Services]:
    """The services, open inside the context. ``limits`` apply to every upstream."""
    catalog = catalog or bundled()
    identity = identity or Identity.generate()
    keyring = Keyring(catalog.providers, settings)
    async with AsyncExitStack() as stack:
        signatures = SignatureCache()
        upstreams = _open_upstreams(stack, settings, catalog, keyring, limits, signatures)
        metrics = Metrics()
        metrics.initialize(upstreams)
        clock = clock or Clock(Nsm(NSM_DEVICE).time if settings.enclave else None)
        await stack.enter_async_context(clock.synchronized())
        clock.register(metrics.registry)
        heartbeat = Heartbeat(identity.signer, clock, metrics.registry, clock_reasons=clock.reasons)
        stack.push_async_callback(heartbeat.stop)
        fetcher = FileFetcher(enabled=not settings.enclave)
        stack.push_async_callback(fetcher.close)
        services = Services(
            settings=settings,
            catalog=catalog,
            signer=identity.signer,
            sealing_key=identity.sealing_key,
            heartbeat=heartbeat,
            clock=clock,
            metrics=metrics,
            keyring=keyring,
            upstreams=upstreams,
            payments=PaymentsDisabled(),
            fetcher=fetcher,
            admission=Admission(settings.max_inflight, settings.queue),
            signatures=signatures,
        )
        if settings.payments == "required":
            await _open_payments(stack, services, identity.quote_key)
        if settings.otlp_endpoint is not None:
            tracer = Tracer(settings.otlp_endpoint, metrics.registry, settings.otlp_headers)
            services.tracer = await stack.enter_async_context(tracer.running())
        services.cluster = SingleProcess(services)
        yield services


def _open_upstreams(
    stack: AsyncExitStack,
    settings: Settings,
    catalog: Catalog,
    keyring: Keyring,
    limits: Limits | None,
    signatures: SignatureCache,
) -> dict[str, Upstream]:
    upstreams = {}
    for name, endpoints in adapters(signatures).items():
        transport = Transport(settings.base_urls[name], limits)
        stack.push_async_callback(transport.close)
        upstreams[name] = Upstream(catalog.providers[name], endpoints, transport, keyring)
    return upstreams


async def _open_payments(stack: AsyncExitStack, services: Services, quote_key: bytes) -> None:
    """Require payments, configured now from the settings and again by the injection."""
    payments = DeferredPayments(
        services.settings,
        services.catalog,
        quote_key,
        services.clock,
        PaymentMetrics(services.metrics.registry),
    )
    stack.push_async_callback(payments.close)
    await payments.configure()
    services.payments = ClockGuard(payments, services.clock)
    services.on_injection.append(payments.configure)
