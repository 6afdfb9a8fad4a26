"""Whole gateways with payments required, beside a local chain; each test brings wallets, a payee and a journal."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

import gateway.billing.definitions
import gateway.billing.settlement
from gateway.upstreams.transport import Limits
from tests.billing.harness import quick
from tests.money.paid_gateway import PaidGateway, environment
from tests.running_gateway import FAST, StartGateway
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.price_source import PriceSource
from tools.simulators.fleet import Fleet

Define = Callable[..., None]
"""Changes the definitions of gateways that are opened afterwards, by section."""


class OpenShop(Protocol):
    async def __call__(
        self, *, payee: str | None = None, journal: Path | None = None, limits: Limits = FAST, **variables: str
    ) -> PaidGateway:
        """A gateway with payments required; ``variables`` are its environment's, empty ones are left out."""
        ...


@pytest.fixture
async def prices() -> AsyncIterator[PriceSource]:
    async with PriceSource() as prices:
        yield prices


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Define:
    """Until told otherwise settlements retry and sweep in parts of seconds."""

    def change(**sections: Any) -> None:
        definitions = quick(**sections)
        monkeypatch.setattr(gateway.billing.definitions, "bundled", lambda: definitions)

    monkeypatch.setattr(gateway.billing.settlement, "_FIRST_BACKOFF", 0.1)
    change()
    return change


@pytest.fixture
def open_shop(
    define: Define,
    start_gateway: StartGateway,
    fleet: Fleet,
    chain: LocalChain,
    facilitator: LocalFacilitator,
    prices: PriceSource,
    tmp_path: Path,
) -> OpenShop:
    async def open_one(
        *, payee: str | None = None, journal: Path | None = None, limits: Limits = FAST, **variables: str
    ) -> PaidGateway:
        payee, journal = payee or Wallet().address, journal or tmp_path / "journal.sqlite3"
        told = {**environment(fleet, chain, facilitator, prices, payee, journal), **variables}
        running = await start_gateway(told, limits=limits)
        return PaidGateway(running, fleet, chain, facilitator, prices, payee, journal)

    return open_one


@pytest.fixture
async def shop(open_shop: OpenShop) -> PaidGateway:
    return await open_shop()
