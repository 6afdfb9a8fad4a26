"""A facilitator and a signed payment for each test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tools.chain.deployment import USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.payments import Payment, upto_offer
from tools.chain.wallet import Wallet

Post = Callable[[str, Any], Awaitable[Any]]
"""Posts JSON to a path of the facilitator and returns the JSON of its 200."""


CAP = 5000
"""The maximum of ``payment``, in atomic units of USDC."""


@pytest.fixture
async def facilitator(chain: LocalChain) -> AsyncIterator[LocalFacilitator]:
    async with LocalFacilitator(chain.rpc_url) as facilitator:
        yield facilitator


@pytest.fixture
def payee() -> str:
    return Wallet().address


@pytest.fixture
async def payment(chain: LocalChain, facilitator: LocalFacilitator, payee: str) -> Payment:
    wallet = await chain.wallet(usdc=2 * CAP, approve=True)
    return await Payment.sign(wallet, upto_offer(USDC, CAP, facilitator.address, payee=payee))


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
