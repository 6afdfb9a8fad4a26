"""One gateway and one set of vendors for all tests of a module; what a test left behind is swept away."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.catalog import Catalog
from gateway.signing import Signer
from tests.conformance.stage import Stage, open_stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre(signer: Signer, catalog: Catalog) -> AsyncIterator[Stage]:
    async with open_stage(signer, catalog) as opened:
        yield opened


@pytest.fixture
def stage(theatre: Stage) -> Stage:
    """Nothing is queued and nothing was received."""
    theatre.fleet.reset()
    return theatre
