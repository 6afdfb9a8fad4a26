"""Billing beside a local chain, with a journal for each test, and its stores."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.billing.storage.postgres_store import PostgresStore
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import Store
from tests.billing import postgres
from tests.billing.harness import BillingHarness, open_harness
from tests.billing.quoting import QuoterHarness
from tests.clocks import Clock
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain

Open = Callable[[], Awaitable[Store]]


@pytest.fixture(autouse=True)
def soon_settled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat a settlement whose outcome is unknown after a tenth of a second instead of one."""
    monkeypatch.setattr("gateway.billing.settlement._FIRST_BACKOFF", 0.1)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def harness() -> QuoterHarness:
    return QuoterHarness()


@pytest.fixture
async def billing(chain: LocalChain, facilitator: LocalFacilitator, journal: Path) -> AsyncIterator[BillingHarness]:
    """A gateway that can read the chain."""
    async with open_harness(chain, facilitator, journal) as opened:
        yield opened


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    if not postgres.installed():
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL's server is not installed")
        pytest.skip("PostgreSQL's server is not installed")
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens one more worker's view of the same store."""
    if request.param == "sqlite":
        return lambda: SqliteStore.open(tmp_path / "journal.db")
    url = request.getfixturevalue("database")
    await postgres.empty(url)
    return lambda: PostgresStore.open(url, grace_seconds=-1.0)


@pytest.fixture
async def store(open_store: Open) -> AsyncIterator[Store]:
    opened = await open_store()
    yield opened
    await opened.close()


@pytest.fixture
async def twin(store: Store, open_store: Open) -> AsyncIterator[Store]:
    """Another worker."""
    opened = await open_store()
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
