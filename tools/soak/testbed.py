"""The gateway under test, with six simulated vendors behind faulty proxies and simulated payments."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from types import ModuleType
from unittest.mock import patch
from urllib.parse import urlsplit

from gateway import dispatch
from gateway.catalog import Catalog
from gateway.composition import compose
from gateway.endpoints import early_status
from gateway.http_server import body, connection
from gateway.http_server import stream_reply as reply
from gateway.identity import Identity
from gateway.listeners import Audience, Listener
from gateway.server import GatewayServer
from gateway.services import Services
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.upstreams.transport import Limits
from tools.simulators.fleet import Fleet
from tools.soak.faulty_proxy import FaultyProxy
from tools.soak.payments import SimulatedPayments

LIMITS = Limits(
    connect_timeout=1.0, first_byte_timeout=2.0, read_timeout=0.7, max_attempts=3, backoff=0.01, max_retry_after=0.2
)
MAX_INFLIGHT = 24
QUEUE = 6
_SHORT_TIMEOUTS: tuple[tuple[ModuleType, str, float], ...] = (
    (dispatch, "DRAIN_SECONDS", 2.0),
    (connection, "STALL_SECONDS", 2.0),
    (body, "BODY_SECONDS", 4.0),
    (body, "READ_SECONDS", 1.0),
    (early_status, "EARLY_STATUS_SECONDS", 0.4),
    (early_status, "PADDING_SECONDS", 0.1),
    (reply, "KEEP_ALIVE_SECONDS", 0.3),
)
"""Timeouts that are long in production, shortened so that they expire during the soak."""


@dataclass
class Testbed:
    """``url`` has no trailing slash. ``proxies`` are keyed by the variable prefix of their vendor."""

    url: str
    services: Services
    server: GatewayServer
    proxies: dict[str, FaultyProxy]
    payments: SimulatedPayments


@asynccontextmanager
async def start_testbed(random: Random, catalog: Catalog, signer: Signer | None = None) -> AsyncIterator[Testbed]:
    """Start everything."""
    async with AsyncExitStack() as stack:
        for module, name, seconds in _SHORT_TIMEOUTS:
            stack.enter_context(patch.object(module, name, seconds))
        fleet = await stack.enter_async_context(Fleet(keep=16, serve_retired=True))
        environment = {
            **fleet.environment(),
            "API_SERVER_HOST": "127.0.0.1",
            "GATEWAY_MAX_INFLIGHT": str(MAX_INFLIGHT),
            "GATEWAY_QUEUE": str(QUEUE),
        }
        proxies = await _start_proxies(stack, environment, random)
        settings = Settings.from_environment(environment, catalog.providers, enclave=False)
        services = await stack.enter_async_context(
            compose(settings, catalog=catalog, identity=Identity.generate(signer), limits=LIMITS)
        )
        services.payments = payments = SimulatedPayments(Random(random.random()))
        server = GatewayServer(services)
        [(host, port)] = await server.start([Listener("127.0.0.1", 0, Audience.LOCAL)])
        stack.push_async_callback(server.drain, 5.0)
        yield Testbed(f"http://{host}:{port}", services, server, proxies, payments)


async def outages(testbed: Testbed, random: Random) -> None:
    """Make random vendors refuse connections for a while, until cancelled."""
    while True:
        await asyncio.sleep(random.uniform(0.5, 3.0))
        with suppress(OSError):
            await random.choice([*testbed.proxies.values()]).refuse_connections(random.choice((0.05, 0.3)))


async def _start_proxies(stack: AsyncExitStack, environment: dict[str, str], random: Random) -> dict[str, FaultyProxy]:
    """Put faulty proxies between the gateway and five vendors. TLS to the last one does not work, nor does the DNS name
    of the sixth vendor."""
    prefixes = ("OPENAI", "ANTHROPIC", "GOOGLE", "ARK", "XAI")
    proxies = {prefix: await _start_proxy(stack, environment, prefix, random) for prefix in prefixes}
    environment["XAI_BASE_URL"] = f"https://127.0.0.1:{proxies['XAI'].port}/v1"
    environment["NOUS_BASE_URL"] = "https://vendor.invalid/v1"
    return proxies


async def _start_proxy(stack: AsyncExitStack, environment: dict[str, str], prefix: str, random: Random) -> FaultyProxy:
    """Put a faulty proxy between the gateway and one vendor."""
    url = environment[f"{prefix}_BASE_URL"]
    parts = urlsplit(url)
    assert parts.hostname and parts.port  # noqa: S101, PT018
    proxy = FaultyProxy((parts.hostname, parts.port), Random(random.random()))
    await proxy.start()
    stack.push_async_callback(proxy.stop)
    environment[f"{prefix}_BASE_URL"] = url.replace(f":{parts.port}", f":{proxy.port}", 1)
    return proxy
