"""One chain for all billing tests; each test brings wallets, a payee, a facilitator and a journal of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.billing.till import Till, till
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain


@pytest.fixture(scope="session")
def chain() -> Iterator[LocalChain]:
    with LocalChain() as chain:
        yield chain


@pytest.fixture
async def facilitator(chain: LocalChain) -> AsyncIterator[LocalFacilitator]:
    async with LocalFacilitator(chain.rpc_url, confirmation_timeout=1.0) as facilitator:
        yield facilitator


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def shop(chain: LocalChain, facilitator: LocalFacilitator, journal: Path) -> AsyncIterator[Till]:
    """A gateway that can read the chain."""
    async with till(chain, facilitator, journal) as opened:
        yield opened
