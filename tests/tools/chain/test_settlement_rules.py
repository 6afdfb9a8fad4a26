"""How the real facilitator and the contracts treat payments that are reused, altered, late or unfunded.

The experiments of facts/x402.md 3.4 that need no gateway; reasons are the package's own strings.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from x402.schemas import PaymentRequirements

from tools.chain.deployment import OPG, USDC, Keypair
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.payments import Payment, exact_offer, upto_offer
from tools.chain.wallet import ContractWallet, Wallet

Post = Callable[[str, Any], Awaitable[Any]]

CAP = 5000
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

OFFERS: dict[str, Callable[[LocalFacilitator, str], PaymentRequirements]] = {
    "exact-eip3009": lambda _, payee: exact_offer(USDC, CAP, payee=payee),
    "exact-permit2": lambda _, payee: exact_offer(USDC, CAP, method="permit2", payee=payee),
    "upto": lambda facilitator, payee: upto_offer(USDC, CAP, facilitator.address, payee=payee),
}
every_scheme = pytest.mark.parametrize("scheme", OFFERS)
SETTLE_FAILURE = {
    "exact-eip3009": "transaction_failed",
    "exact-permit2": "transaction_failed",
    "upto": "invalid_upto_evm_transaction_failed",
}


async def signed(chain: LocalChain, facilitator: LocalFacilitator, scheme: str, payee: str) -> tuple[Wallet, Payment]:
    """A payment of CAP by a new wallet that holds exactly that."""
    wallet = await chain.wallet(usdc=CAP, approve=True)
    return wallet, await Payment.sign(wallet, OFFERS[scheme](facilitator, payee))


async def burn(chain: LocalChain, wallet: Wallet, payment: Payment) -> None:
    nonce = payment.authorization["nonce"]
    if nonce.startswith("0x"):
        await chain.cancel_authorization(wallet, USDC, bytes.fromhex(nonce[2:]))
    else:
        await chain.invalidate_permit2_nonce(wallet, int(nonce))


async def nonce_used(chain: LocalChain, payment: Payment) -> bool:
    payer, nonce = payment.authorization["from"], payment.authorization["nonce"]
    if nonce.startswith("0x"):
        return await chain.authorization_used(USDC, payer, bytes.fromhex(nonce[2:]))
    return await chain.permit2_nonce_used(payer, int(nonce))


@every_scheme
async def test_second_settlement_fails_and_pays_nothing(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    wallet, payment = await signed(chain, facilitator, scheme, payee)
    await chain.mint(wallet, USDC, CAP)
    assert not await nonce_used(chain, payment)
    assert (await post("/settle", payment.body()))["success"]
    second = await post("/settle", payment.body())
    assert (second["success"], second["errorReason"]) == (False, SETTLE_FAILURE[scheme])
    assert await nonce_used(chain, payment)
    assert await chain.balance(USDC, payee) == CAP


@pytest.mark.parametrize(
    ("scheme", "verdict"),
    [
        ("exact-eip3009", {"isValid": False, "invalidReason": "invalid_exact_evm_nonce_already_used"}),
        ("upto", {"isValid": False, "invalidReason": "invalid_upto_evm_transaction_failed"}),
        ("exact-permit2", {"isValid": True}),
    ],
)
async def test_verify_after_settle(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str, verdict: dict[str, Any]
) -> None:
    """For exact over Permit2 the package simulates nothing: a used payment stays valid while the payer has funds."""
    wallet, payment = await signed(chain, facilitator, scheme, payee)
    await post("/settle", payment.body())
    await chain.mint(wallet, USDC, CAP)
    answer = await post("/verify", payment.body())
    assert {key: answer[key] for key in verdict} == verdict


@every_scheme
async def test_one_payload_settled_twenty_times_at_once_pays_once(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    wallet, payment = await signed(chain, facilitator, scheme, payee)
    await chain.mint(wallet, USDC, 19 * CAP)
    answers = await asyncio.gather(*(post("/settle", payment.body()) for _ in range(20)))
    assert sum(answer["success"] for answer in answers) == 1
    assert await chain.balance(USDC, payee) == CAP


async def test_upto_settles_less_than_the_cap(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str
) -> None:
    _, payment = await signed(chain, facilitator, "upto", payee)
    settled = await post("/settle", payment.body(amount=1))
    assert settled["amount"] == "1"
    assert await chain.balance(USDC, payee) == 1


async def test_upto_over_the_cap_is_refused_and_leaves_the_permit_usable(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str
) -> None:
    _, payment = await signed(chain, facilitator, "upto", payee)
    refused = await post("/settle", payment.body(amount=CAP + 1))
    assert refused["errorReason"] == "invalid_upto_evm_payload_settlement_exceeds_amount"
    assert not await nonce_used(chain, payment)
    assert (await post("/settle", payment.body()))["success"]


async def test_settling_zero_leaves_the_permit_usable(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str
) -> None:
    _, payment = await signed(chain, facilitator, "upto", payee)
    nothing = await post("/settle", payment.body(amount=0))
    assert (nothing["success"], nothing["transaction"]) == (True, "")
    assert (await post("/verify", payment.body()))["isValid"]
    assert (await post("/settle", payment.body(amount=1)))["success"]
    assert await chain.balance(USDC, payee) == 1


@pytest.mark.parametrize(
    ("scheme", "change", "reason"),
    [
        ("exact-eip3009", {"amount": "1"}, "invalid_exact_evm_payload_authorization_value_mismatch"),
        ("exact-eip3009", {"pay_to": OPG.address}, "invalid_exact_evm_payload_recipient_mismatch"),
        ("exact-eip3009", {"asset": OPG.address}, "invalid_exact_evm_payload_signature"),
        ("exact-permit2", {"amount": "1"}, "permit2_amount_mismatch"),
        ("exact-permit2", {"pay_to": OPG.address}, "invalid_permit2_recipient_mismatch"),
        ("exact-permit2", {"asset": OPG.address}, "permit2_token_mismatch"),
        ("upto", {"amount": "1"}, "permit2_amount_mismatch"),
        ("upto", {"pay_to": OPG.address}, "invalid_permit2_recipient_mismatch"),
        ("upto", {"asset": OPG.address}, "permit2_token_mismatch"),
    ],
    ids=str,
)
async def test_signed_terms_must_be_the_servers(
    chain: LocalChain,
    facilitator: LocalFacilitator,
    post: Post,
    payee: str,
    scheme: str,
    change: dict[str, Any],
    reason: str,
) -> None:
    _, payment = await signed(chain, facilitator, scheme, payee)
    verdict = await post("/verify", payment.body(**change))
    assert (verdict["isValid"], verdict["invalidReason"]) == (False, reason)


@every_scheme
async def test_the_echo_is_not_checked(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    """`accepted.extra`, `accepted.maxTimeoutSeconds` and `resource` are left to the resource server, the gateway."""
    _, payment = await signed(chain, facilitator, scheme, payee)
    body = payment.body()
    body["paymentPayload"]["accepted"]["extra"]["quote"] = {"rate": "0.000001"}
    body["paymentPayload"]["accepted"]["maxTimeoutSeconds"] = 10**9
    body["paymentPayload"]["resource"]["url"] = "http://localhost/dearer"
    assert (await post("/verify", body))["isValid"]


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("exact-eip3009", "invalid_exact_evm_payload_authorization_valid_before"),
        ("exact-permit2", "permit2_deadline_expired"),
        ("upto", "permit2_deadline_expired"),
    ],
)
async def test_five_seconds_before_the_deadline_is_too_late(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str, reason: str
) -> None:
    wallet = await chain.wallet(usdc=CAP, approve=True)
    short = OFFERS[scheme](facilitator, payee).model_copy(update={"max_timeout_seconds": 5})
    payment = await Payment.sign(wallet, short)
    assert (await post("/settle", payment.body()))["errorReason"] == reason
    assert await chain.balance(USDC, payee) == 0


@every_scheme
async def test_payer_drains_its_balance_after_verify(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    wallet, payment = await signed(chain, facilitator, scheme, payee)
    assert (await post("/verify", payment.body()))["isValid"]
    await chain.transfer(wallet, USDC, Wallet().address, CAP)
    assert not (await post("/settle", payment.body()))["success"]
    assert await chain.balance(USDC, payee) == 0


@every_scheme
async def test_payer_burns_the_nonce_after_verify(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    wallet, payment = await signed(chain, facilitator, scheme, payee)
    assert (await post("/verify", payment.body()))["isValid"]
    await burn(chain, wallet, payment)
    assert not (await post("/settle", payment.body()))["success"]
    assert await nonce_used(chain, payment)
    assert await chain.balance(USDC, payee) == 0


@pytest.mark.parametrize("scheme", ["exact-permit2", "upto"])
async def test_payer_revokes_its_allowance_after_verify(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    wallet, payment = await signed(chain, facilitator, scheme, payee)
    assert (await post("/verify", payment.body()))["isValid"]
    await chain.approve_permit2(wallet, USDC, 0)
    assert not (await post("/settle", payment.body()))["success"]
    assert await chain.balance(USDC, payee) == 0


async def test_five_permits_over_one_balance_all_verify_and_one_settles(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str
) -> None:
    wallet, first = await signed(chain, facilitator, "upto", payee)
    payments = [first, *[await Payment.sign(wallet, first.requirements) for _ in range(4)]]
    verdicts = [await post("/verify", payment.body()) for payment in payments]
    settled = [await post("/settle", payment.body()) for payment in payments]
    assert [verdict["isValid"] for verdict in verdicts] == [True] * 5
    assert [answer["success"] for answer in settled] == [True, False, False, False, False]
    assert await chain.balance(USDC, payee) == CAP


async def test_parallel_first_payments_share_one_eip2612_nonce(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str
) -> None:
    """The second permit fails silently; the allowance left by the first one decides."""
    wallet = await chain.wallet(usdc=3 * CAP)
    offer = upto_offer(USDC, CAP, facilitator.address, payee=payee)
    first, second = [await Payment.sign(wallet, offer, chain.rpc_url) for _ in range(2)]
    assert (await post("/settle", first.body(amount=CAP - 10)))["success"]
    assert await chain.allowance(USDC, wallet.address) == 10
    assert not (await post("/settle", second.body(amount=11)))["success"]
    assert (await post("/settle", second.body(amount=10)))["success"]
    assert await chain.balance(USDC, payee) == CAP


@every_scheme
async def test_unmined_settlement_is_pending_until_it_is_mined(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    """A retry reconciles with the transaction already sent; one retry too many sends another, which reverts."""
    wallet, payment = await signed(chain, facilitator, scheme, payee)
    await chain.mint(wallet, USDC, CAP)
    facilitator.signer.confirmation_timeout = 0.2
    await chain.stop_mining()
    try:
        pending = await post("/settle", payment.body())
    finally:
        facilitator.signer.confirmation_timeout = 10
        await chain.start_mining()
    assert (pending["success"], pending["errorReason"]) == (False, "settlement_pending")
    reconciled = await post("/settle", payment.body())
    assert (reconciled["success"], reconciled["transaction"]) == (True, pending["transaction"])
    again = await post("/settle", payment.body())
    assert (again["success"], again["errorReason"]) == (False, SETTLE_FAILURE[scheme])
    assert again["transaction"] not in {"", pending["transaction"]}
    assert await chain.balance(USDC, payee) == CAP


@pytest.mark.parametrize(("scheme", "accepted"), [("exact-eip3009", False), ("exact-permit2", True), ("upto", True)])
async def test_mirrored_signature_is_a_second_encoding_only_for_permit2(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str, accepted: bool
) -> None:
    _, payment = await signed(chain, facilitator, scheme, payee)
    body = payment.body()
    signature = bytes.fromhex(body["paymentPayload"]["payload"]["signature"][2:])
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    mirrored = signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - signature[64]])
    body["paymentPayload"]["payload"]["signature"] = f"0x{mirrored.hex()}"
    assert (await post("/settle", body))["success"] is accepted
    assert (await post("/settle", payment.body()))["success"] is not accepted
    assert await chain.balance(USDC, payee) == CAP


@every_scheme
async def test_foreign_signature_is_refused(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    _, payment = await signed(chain, facilitator, scheme, payee)
    forged = await Payment.sign(Wallet(), payment.requirements)
    body = payment.body()
    body["paymentPayload"]["payload"]["signature"] = forged.payload.payload["signature"]
    verdict = await post("/verify", body)
    assert verdict["isValid"] is False
    assert "signature" in verdict["invalidReason"]


async def test_upto_binds_one_facilitator(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str
) -> None:
    other = Keypair("another facilitator")
    await chain.set_ether(other.address, 10**18)
    async with LocalFacilitator(chain.rpc_url, key=other.key) as elsewhere:
        wallet = await chain.wallet(usdc=CAP, approve=True)
        payment = await Payment.sign(wallet, upto_offer(USDC, CAP, elsewhere.address, payee=payee))
    assert (await post("/verify", payment.body()))["invalidReason"] == "upto_facilitator_mismatch"


@every_scheme
async def test_a_contract_pays_with_its_owners_signature(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    account = await chain.contract_wallet(usdc=CAP, approve=True)
    payment = await Payment.sign(account, OFFERS[scheme](facilitator, payee))
    assert (await post("/verify", payment.body())) == {"isValid": True, "payer": account.address}
    assert (await post("/settle", payment.body()))["success"]
    assert await chain.balance(USDC, payee) == CAP


@every_scheme
async def test_nobody_else_signs_for_a_contract(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payee: str, scheme: str
) -> None:
    account = await chain.contract_wallet(usdc=CAP, approve=True)
    forger = ContractWallet(Wallet(), account.address)
    payment = await Payment.sign(forger, OFFERS[scheme](facilitator, payee))
    assert not (await post("/settle", payment.body()))["success"]
    assert await chain.balance(USDC, payee) == 0
