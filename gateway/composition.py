"""How the rooms of one process are put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway import catalog as catalog_module
from gateway.admission import Admission
from gateway.billing.payment import Payments
from gateway.billing.unpaid import Unconfigured, Unpaid
from gateway.catalog import Catalog
from gateway.keyring import Keyring
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
        yield Services(
            settings=settings,
            catalog=catalog,
            signer=signer or Signer(),
            keyring=keyring,
            upstreams=upstreams,
            payments=_payments(settings),
            fetcher=await stack.enter_async_context(FileFetcher(enabled=not settings.enclave)),
            admission=Admission(settings.max_inflight, settings.queue),
        )


def _payments(settings: Settings) -> Payments:
    if settings.payments == "off":
        return Unpaid()
    missing = [
        name
        for name, value in (
            ("EVM_PAYMENT_ADDRESS is not set", settings.pay_to),
            ("FACILITATOR_URL is not set", settings.facilitator_url),
        )
        if value is None
    ]
    return Unconfigured(missing)
