"""How the rooms of one process are put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway import catalog as catalog_module
from gateway.admission import Admission
from gateway.billing.unpaid import Unpaid
from gateway.catalog import Catalog
from gateway.keyring import Keyring
from gateway.late_payments import LatePayments
from gateway.services import Services
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.upstreams.fetch import FileFetcher
from gateway.upstreams.registry import adapters
from gateway.upstreams.transport import Limits, Transport
from gateway.upstreams.upstream import Upstream


@asynccontextmanager
async def compose(
    settings: Settings,
    *,
    catalog: Catalog | None = None,
    signer: Signer | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Services]:
    """Everything that requests share, open inside the context. ``limits`` are those of every upstream."""
    catalog = catalog or catalog_module.bundled()
    keyring = Keyring(catalog.providers, settings)
    async with AsyncExitStack() as stack:
        upstreams = {}
        for name, endpoints in adapters().items():
            transport = Transport(settings.base_urls[name], limits)
            stack.push_async_callback(transport.close)
            upstreams[name] = Upstream(catalog.providers[name], endpoints, transport, keyring)
        signer = signer or Signer()
        services = Services(
            settings=settings,
            catalog=catalog,
            signer=signer,
            keyring=keyring,
            upstreams=upstreams,
            payments=Unpaid(),
            fetcher=await stack.enter_async_context(FileFetcher(enabled=not settings.enclave)),
            admission=Admission(settings.max_inflight, settings.queue),
        )
        if settings.payments == "required":
            payments = LatePayments(settings, catalog, signer.tee_id)
            stack.push_async_callback(payments.close)
            await payments.configure()
            services.payments = payments
            services.on_injection.append(payments.configure)
        yield services
