"""The gateway under soak: in front of six simulated vendors on faulty lines, paid from an account in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

from gateway import dispatch
from gateway.catalog import Catalog
from gateway.composition import compose
from gateway.endpoints import early_status
from gateway.http_server import body, connection
from gateway.http_server import stream_reply as reply
from gateway.identity import Identity
from gateway.server import Audience, GatewayServer, Listener
from gateway.services import Services
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.upstreams.transport import Limits
from tools.simulators.fleet import Fleet
from tools.soak.link import FaultyLink
from tools.soak.till import Till

LIMITS = Limits(
    connect_timeout=1.0, first_byte_timeout=2.0, read_timeout=0.7, max_attempts=3, backoff=0.01, max_retry_after=0.2
)
PLACES = 24
QUEUE = 6
_SHORTENED: tuple[tuple[Any, str, float], ...] = (
    (dispatch, "DRAIN_SECONDS", 2.0),
    (connection, "STALL_SECONDS", 2.0),
    (body, "BODY_SECONDS", 4.0),
    (body, "READ_SECONDS", 1.0),
    (early_status, "EARLY_STATUS_SECONDS", 0.4),
    (early_status, "PADDING_SECONDS", 0.1),
    (reply, "KEEP_ALIVE_SECONDS", 0.3),
)
"""Patience that takes minutes in service; the soak wants to see it end."""


@dataclass
class Stage:
    """``url`` has no trailing slash. ``links`` are by the variable prefix of their vendor."""

    url: str
    services: Services
    server: GatewayServer
    fleet: Fleet
    links: dict[str, FaultyLink]
    till: Till


@asynccontextmanager
async def staged(random: Random, catalog: Catalog, signer: Signer | None = None) -> AsyncIterator[Stage]:
    """Everything up and connected; one vendor's TLS and another one's name do not work."""
    async with AsyncExitStack() as stack:
        stack.enter_context(shortened())
        fleet = await stack.enter_async_context(Fleet(keep=16, serve_retired=True))
        environment, links = fleet.environment(), dict[str, FaultyLink]()
        for prefix in ("OPENAI", "ANTHROPIC", "GOOGLE", "ARK", "XAI"):
            links[prefix] = await _link(stack, environment, prefix, random)
        environment["XAI_BASE_URL"] = f"https://127.0.0.1:{links['XAI'].port}/v1"
        environment["NOUS_BASE_URL"] = "https://vendor.invalid/v1"
        settings = Settings.from_environment(
            {
                **environment,
                "API_SERVER_HOST": "127.0.0.1",
                "GATEWAY_MAX_INFLIGHT": str(PLACES),
                "GATEWAY_QUEUE": str(QUEUE),
            },
            catalog.providers,
            enclave=False,
        )
        services = await stack.enter_async_context(
            compose(settings, catalog=catalog, identity=Identity.generate(signer), limits=LIMITS)
        )
        services.payments = till = Till(Random(random.random()))
        server = GatewayServer(services)
        [(host, port)] = await server.start([Listener("127.0.0.1", 0, Audience.LOCAL)])
        stack.push_async_callback(server.drain, 5.0)
        yield Stage(f"http://{host}:{port}", services, server, fleet, links, till)


@contextmanager
def shortened() -> Any:
    """The gateway's long patience cut to seconds, and back."""
    before = [(module, name, getattr(module, name)) for module, name, _ in _SHORTENED]
    for module, name, seconds in _SHORTENED:
        setattr(module, name, seconds)
    try:
        yield
    finally:
        for module, name, seconds in before:
            setattr(module, name, seconds)


async def outages(stage: Stage, random: Random) -> None:
    """Until cancelled: now and then a vendor takes no connections for a while."""
    while True:
        await asyncio.sleep(random.uniform(0.5, 3.0))
        with suppress(OSError):
            await random.choice([*stage.links.values()]).refuse(random.choice((0.05, 0.3)))


async def _link(stack: AsyncExitStack, environment: dict[str, str], prefix: str, random: Random) -> FaultyLink:
    """Put a line between the gateway and one vendor."""
    url = environment[f"{prefix}_BASE_URL"]
    parts = urlsplit(url)
    assert parts.hostname is not None  # noqa: S101
    assert parts.port is not None  # noqa: S101
    link = FaultyLink((parts.hostname, parts.port), Random(random.random()))
    await link.start()
    stack.push_async_callback(link.stop)
    environment[f"{prefix}_BASE_URL"] = url.replace(f":{parts.port}", f":{link.port}", 1)
    return link
