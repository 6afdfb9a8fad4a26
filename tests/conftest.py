"""Shared fixtures: simulated upstreams and a gateway on real sockets, in the test's own event loop."""

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from gateway.billing.payment import Payments
from gateway.catalog import Catalog, bundled
from gateway.composition import compose
from gateway.identity import Identity
from gateway.listeners import Audience, Listener
from gateway.server import GatewayServer
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.upstreams.transport import Limits
from tests.recording_payments import RecordingPayments
from tests.running_gateway import FAST, RunningGateway, StartGateway
from tools.simulators.fleet import Fleet

if TYPE_CHECKING:
    from tools.chain.facilitator import LocalFacilitator
    from tools.chain.local_chain import LocalChain

SHARED = Path(__file__).parent.parent.parent / "shared"

# Shells start background jobs with SIGINT ignored, which the commands under test would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What runs here is reached without a proxy; httpx cannot even start with a SOCKS proxy.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))
for name in ("all_proxy", "ALL_PROXY"):
    os.environ.pop(name, None)

# No deadlines: the machine may be under other load.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that ``needs`` a program, or ``root``, that is not here; in CI it fails."""
    needed = [tool for mark in item.iter_markers("needs") for tool in mark.args]
    missing = [tool for tool in needed if not (os.geteuid() == 0 if tool == "root" else shutil.which(tool))]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {', '.join(missing)}")


@pytest.fixture(scope="session")
def signer() -> Signer:
    """One key pair per run: generating RSA keys is slow."""
    return Signer()


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The bundled catalogue, loaded before any event loop runs."""
    return bundled()


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """All six vendors simulated, retired models included."""
    async with Fleet(serve_retired=True) as running:
        yield running


@pytest.fixture
async def start_gateway(signer: Signer, catalog: Catalog) -> AsyncIterator[StartGateway]:
    """Start gateways, without payments unless the environment enables them, and drain them after the test."""
    async with AsyncExitStack() as stack:

        async def start(
            environment: dict[str, str] | None = None,
            *,
            audience: Audience = Audience.LOCAL,
            limits: Limits = FAST,
            payments: Payments | None = None,
        ) -> RunningGateway:
            variables = {"API_SERVER_HOST": "127.0.0.1", "GATEWAY_PAYMENTS": "off", **(environment or {})}
            settings = Settings.from_environment(variables, catalog.providers, enclave=False)
            services = await stack.enter_async_context(
                compose(settings, identity=Identity.generate(signer), limits=limits)
            )
            if payments is not None:
                services.payments = payments
            server = GatewayServer(services)
            [(host, port)] = await server.start([Listener("127.0.0.1", 0, audience)])
            stack.push_async_callback(server.drain, 2.0)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return RunningGateway(f"http://{host}:{port}", services, session, server)

        yield start


@pytest.fixture
async def gateway(fleet: Fleet, start_gateway: StartGateway) -> RunningGateway:
    """A gateway in front of the simulated vendors, without payments."""
    running = await start_gateway(fleet.environment())
    running.fleet = fleet
    return running


@pytest.fixture
def payments() -> RecordingPayments:
    return RecordingPayments()


@pytest.fixture
async def paid(fleet: Fleet, start_gateway: StartGateway, payments: RecordingPayments) -> RunningGateway:
    """A gateway in front of the simulated vendors that takes every payment and records it."""
    gateway = await start_gateway(fleet.environment(), payments=payments)
    gateway.fleet = fleet
    return gateway


@pytest.fixture(scope="session")
def chain() -> Iterator["LocalChain"]:
    """One chain per run; each test brings wallets, a payee and a facilitator of its own."""
    from tools.chain.local_chain import LocalChain

    with LocalChain() as chain:
        yield chain


@pytest.fixture
async def facilitator(chain: "LocalChain") -> AsyncIterator["LocalFacilitator"]:
    from tools.chain.facilitator import LocalFacilitator

    async with LocalFacilitator(chain.rpc_url) as facilitator:
        yield facilitator


@pytest.fixture(scope="session")
def nitriding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real nitriding daemon, built with Go; skipped where its commit cannot be had."""
    from tests.nitriding_daemon import program

    return program(tmp_path_factory.mktemp("nitriding"))


@pytest.fixture(scope="session")
def nitriding_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for nitriding, built with Go."""
    from tests.nitriding_daemon import stand_in

    return stand_in(tmp_path_factory.mktemp("nitriding"))


@pytest.fixture
def shared() -> Path:
    """The folder of recordings; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared with recorded exchanges is not here")
    return SHARED


@pytest.fixture(autouse=True)
def usual_recursion_limit() -> None:
    """Undo Ethereum packages, which raise it until deep JSON overflows the stack; the gateway never loads them."""
    sys.setrecursionlimit(1000)


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Fail a test in which the gateway's own code blocks the event loop."""
    with blockbuster_ctx("gateway") as detector:
        yield detector
