"""Fixtures that all rooms share: simulated upstreams and a gateway on real sockets, in the test's own loop."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from gateway.catalog import Catalog, bundled
from gateway.composition import compose
from gateway.identity import Identity
from gateway.server import Audience, GatewayServer, Listener
from gateway.services import Services
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.upstreams.transport import Limits
from tests.ledger import Ledger
from tests.running import FAST, RunningGateway, StartGateway
from tools.simulators.fleet import Fleet

SHARED = Path(__file__).parent.parent.parent / "shared"

# No test is timed: the machine may be doing other things.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def signer() -> Signer:
    """One key pair for the whole run: making RSA keys is slow."""
    return Signer()


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The shipped catalogue, read before any loop runs."""
    return bundled()


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """All six vendors, simulated; retired models answer too."""
    async with Fleet(serve_retired=True) as running:
        yield running


@pytest.fixture
async def start_gateway(signer: Signer, catalog: Catalog) -> AsyncIterator[StartGateway]:
    """Starts gateways, payments off unless the environment says otherwise, and stops them after the test."""
    async with AsyncExitStack() as stack:

        async def start(
            environment: dict[str, str] | None = None,
            *,
            audience: Audience = Audience.LOCAL,
            limits: Limits = FAST,
            adjust: Callable[[Services], None] | None = None,
        ) -> RunningGateway:
            variables = {"API_SERVER_HOST": "127.0.0.1", "GATEWAY_PAYMENTS": "off", **(environment or {})}
            settings = Settings.from_environment(variables, catalog.providers, enclave=False)
            services = await stack.enter_async_context(
                compose(settings, identity=Identity.generate(signer), limits=limits)
            )
            if adjust is not None:
                adjust(services)
            server = GatewayServer(services)
            [(host, port)] = await server.start([Listener("127.0.0.1", 0, audience)])
            stack.push_async_callback(server.drain, 2.0)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return RunningGateway(f"http://{host}:{port}", services, session, server)

        yield start


@pytest.fixture
async def gateway(fleet: Fleet, start_gateway: StartGateway) -> RunningGateway:
    """A gateway in front of the simulated vendors, payments off."""
    running = await start_gateway(fleet.environment())
    running.fleet = fleet
    return running


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def paid(fleet: Fleet, start_gateway: StartGateway, ledger: Ledger) -> RunningGateway:
    """A gateway whose payments are the ledger."""

    def adjust(services: Services) -> None:
        services.payments = ledger

    gateway = await start_gateway(fleet.environment(), adjust=adjust)
    gateway.fleet = fleet
    return gateway


@pytest.fixture(scope="session")
def nitriding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real daemon; skipped where it cannot be built."""
    from tests.nitriding_daemon import program

    return program(tmp_path_factory.mktemp("nitriding"))


@pytest.fixture(scope="session")
def nitriding_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Go program in its place."""
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
    """Ethereum's packages raise it so far that deep JSON overflows the stack; the serving process never loads them."""
    sys.setrecursionlimit(1000)


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """A blocking call on the event loop, made by the gateway's own code, fails the test."""
    with blockbuster_ctx("gateway") as detector:
        yield detector
