"""One chain per run; each test creates its own wallets and starts its own facilitator."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest

from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain

Post = Callable[[str, Any], Awaitable[Any]]
"""Posts JSON to a path of the facilitator and returns the JSON of its 200."""


@pytest.fixture(scope="session")
def chain() -> Iterator[LocalChain]:
    with LocalChain() as chain:
        yield chain


@pytest.fixture
async def facilitator(chain: LocalChain) -> AsyncIterator[LocalFacilitator]:
    async with LocalFacilitator(chain.rpc_url) as facilitator:
        yield facilitator


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def post(facilitator: LocalFacilitator, http: aiohttp.ClientSession) -> Post:
    async def send(path: str, body: Any) -> Any:
        async with http.post(f"{facilitator.url}{path}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    return send
