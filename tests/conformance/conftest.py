"""One gateway and one set of vendors for all tests of a module; what a test left behind is swept away."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.catalog import Catalog
from gateway.signing import Signer
from tests.conformance.harness import Harness, open_harness


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_harness(signer: Signer, catalog: Catalog) -> AsyncIterator[Harness]:
    async with open_harness(signer, catalog) as opened:
        yield opened


@pytest.fixture
def harness(module_harness: Harness) -> Harness:
    """Nothing is queued and nothing was received."""
    module_harness.fleet.reset()
    return module_harness
