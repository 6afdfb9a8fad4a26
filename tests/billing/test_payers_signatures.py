"""Payments that their payer's own key did not sign: contract accounts', and forged ones, of which nothing is held
against the payer that they name (facts/x402.md 1.3)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.openai_api.errors import GatewayError
from tests.billing.harness import (
    DOLLAR,
    BillingHarness,
    bill,
    open_harness,
    order,
    payload_of,
    quick,
    refusal,
    with_payment,
)
from tests.waiting import until
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Slow, Verdict
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet


@asynccontextmanager
async def being_verified(
    billing: BillingHarness, victim: str, scheme: str, *, stream: bool
) -> AsyncIterator[list[GatewayError]]:
    """Three forged payments, which the facilitator takes its time over; how they were refused, in the end."""
    billing.facilitator.faults.set("verify", Slow(1.0), times=3)
    forgeries = []
    for _ in range(3):
        payload = payload_of(await billing.pay(Wallet(), order(stream=stream), scheme=scheme))
        signed = payload["payload"].get("permit2Authorization") or payload["payload"]["authorization"]
        signed["from"] = victim
        forgeries.append(with_payment(order(stream=stream), payload))
    asking = [asyncio.create_task(refusal(billing.payments, forgery)) for forgery in forgeries]
    refused: list[GatewayError] = []
    try:
        await until(lambda: len(billing.facilitator.called("verify")) >= 3)
        yield refused
    finally:
        refused += await asyncio.gather(*asking)


@pytest.mark.parametrize(("scheme", "stream"), [("upto", False), ("exact", False), ("exact", True)])
async def test_a_key_s_account_is_not_kept_waiting_where_the_chain_cannot_be_read(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, scheme: str, stream: bool
) -> None:
    definitions = quick(exposure={"newcomer_usd": Decimal("0.001")})
    async with open_harness(chain, facilitator, journal, definitions=definitions, rpc=False) as billing:
        victim = await chain.wallet(usdc=DOLLAR, approve=True)
        async with being_verified(billing, victim.address, scheme, stream=stream) as refused:
            await (await billing.admit(victim, order())).settle(bill())
        assert {error.status for error in refused} == {402}
        assert await billing.balance() == 1230


async def test_a_contract_account_is_not_told_that_its_funds_do_not_suffice(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    async with open_harness(chain, facilitator, journal) as billing:
        cap = int((await billing.offer(order()))["accepts"][1]["amount"])
        victim = await chain.contract_wallet(usdc=cap, approve=True)
        async with being_verified(billing, victim.address, "upto", stream=False) as refused:
            await (await billing.admit(victim, order())).settle(bill())
        assert {error.status for error in refused} == {402}
        assert await billing.balance() == 1230


@pytest.mark.parametrize(
    "signature",
    ["0x" + "01" * 64, "0x" + "ff" * 64, f"0x{'00' * 12}{'ab' * 20}{'00' * 32}01"],
    ids=["64 bytes", "64 bytes, high", "approved by its owner"],
)
@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_a_contract_account_is_asked_about_the_very_bytes_it_signed_with(
    billing: BillingHarness, chain: LocalChain, scheme: str, signature: str
) -> None:
    """Other curves' signatures have 64 bytes as well, and a Safe's for an approved hash 65, of which the last is 1."""
    contract = await chain.contract_wallet(usdc=DOLLAR, approve=True)
    payload = payload_of(await billing.pay(contract, order(), scheme=scheme))
    payload["payload"]["signature"] = signature
    billing.facilitator.faults.set("verify", Verdict(valid=True))
    await billing.payments.admit(with_payment(order(), payload))
    for call in billing.facilitator.called("verify"):
        assert call.body["paymentPayload"]["payload"]["signature"] == signature
    assert billing.facilitator.called("verify")
