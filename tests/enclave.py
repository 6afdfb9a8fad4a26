"""A gateway in a simulated enclave: startup order, public and host listener, and a clock source."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import aiohttp

from gateway.__main__ import start
from gateway.catalog import Catalog
from gateway.clock import Clock
from gateway.composition import compose
from gateway.identity import Identity
from gateway.listeners import Audience, Listener
from gateway.nitriding import Nitriding
from gateway.server import GatewayServer
from gateway.services import Services
from gateway.settings import Settings
from gateway.signing import Signer
from tests.nitriding_daemon import Daemon

D = TypeVar("D", bound=Daemon)
PUBLIC_SIDE, HOST_SIDE = "127.0.0.1", "127.0.0.2"


@dataclass(frozen=True)
class Enclave(Generic[D]):
    """``host_url`` is the host link's listener, ``daemon.public_url`` the public one."""

    services: Services
    daemon: D
    host_url: str
    proxied_url: str


@asynccontextmanager
async def enclave(
    daemon: D,
    signer: Signer,
    catalog: Catalog,
    *,
    environment: dict[str, str] | None = None,
    payments: bool = False,
    timeout: float = 5.0,
) -> AsyncIterator[Enclave[D]]:
    """Start as ``python -m gateway`` does in an enclave; answers are free unless ``payments``.

    The host link's peer must be patched to the address that connections to 127.0.0.2 come from.
    """
    variables = {"API_SERVER_HOST": "127.0.0.1", "GATEWAY_PAYMENTS": "off", **(environment or {})}
    if payments:
        del variables["GATEWAY_PAYMENTS"]
    settings = replace(Settings.from_environment(variables, catalog.providers, enclave=False), enclave=True)
    async with (
        aiohttp.ClientSession() as session,
        compose(settings, catalog=catalog, identity=Identity.generate(signer), clock=Clock(time.time)) as services,
    ):
        server, port = GatewayServer(services), urlsplit(daemon.application).port or 0
        try:
            public, host = await start(
                services,
                server,
                where=[Listener(PUBLIC_SIDE, port, Audience.PUBLIC), Listener(HOST_SIDE, 0, Audience.HOST)],
                nitriding=Nitriding(session, daemon.internal_url, timeout=timeout),
            )
            daemon.application = f"http://{public[0]}:{public[1]}"
            yield Enclave(services, daemon, f"http://{host[0]}:{host[1]}", daemon.application)
        finally:
            await services.heartbeat.stop()
            await server.drain(2.0)
