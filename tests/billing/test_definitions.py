"""The measured constants: complete, consistent, and refused when they are not."""

from importlib import resources

import pytest
from x402.mechanisms.evm import constants

from gateway.billing.definitions import DefinitionsError, bundled, load

TEXT = resources.files("gateway.billing").joinpath("definitions.toml").read_text(encoding="utf-8")


def test_the_contracts_are_those_of_the_x402_package() -> None:
    contracts = bundled().contracts
    assert contracts.permit2 == constants.PERMIT2_ADDRESS
    assert contracts.exact_proxy == constants.X402_EXACT_PERMIT2_PROXY_ADDRESS
    assert contracts.upto_proxy == constants.X402_UPTO_PERMIT2_PROXY_ADDRESS


def test_opg_is_offered_first_and_usdc_exact_by_eip3009_before_permit2() -> None:
    assert [(offer.scheme, offer.token, offer.method) for offer in bundled().offers] == [
        ("upto", "opg", "permit2"),
        ("upto", "usdc", "permit2"),
        ("exact", "usdc", "eip3009"),
        ("exact", "usdc", "permit2"),
    ]


@pytest.mark.parametrize(
    ("was", "is_now", "says"),
    [
        ("chain_id = 8453\n", "chain_id = 8454\n", "another network's"),
        ("0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB", "0xFbC2", "not an address"),
        ("0x000000000022D473030F116dDEE9F6B43aC78BA3", "permit2", "not an address"),
        (
            "0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB",
            "0xFbC2051AE2265686a469421b2C5A2D5462FbF5eC",
            "tokens.opg: .*EIP-55",
        ),
        (
            "0x000000000022D473030F116dDEE9F6B43aC78BA3",
            "0x000000000022D473030F116dDEE9F6B43aC78Ba3",
            "permit2: .*EIP-55",
        ),
        (
            "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
            "0xfbc2051ae2265686a469421b2c5a2d5462fbf5eb",
            "same network and address",
        ),
        ('usd = "1"', 'usd = "0"', "positive"),
        ('usd = "1"\n', "", "one of usd and feed"),
        ('usd = "1"', 'usd = "NaN"', "positive"),
        ('usd = "1"', 'usd = "Infinity"', "positive"),
        ('lowest_usd = "0.002"', 'lowest_usd = "6"', "band"),
        ('lowest_usd = "0.002"', 'lowest_usd = "NaN"', "band"),
        ('highest_usd = "5"', 'highest_usd = "Infinity"', "band"),
        ('largest_step = "1.5"', 'largest_step = "1"', "band"),
        ('largest_step = "1.5"', 'largest_step = "sNaN"', "band"),
        ('ceiling_usd = "50"', 'ceiling_usd = "Infinity"', "exposure.ceiling_usd: must be a number above zero"),
        ("poll_seconds = 0.5", "poll_seconds = nan", "facilitator.poll_seconds: must be a number above zero"),
        ("decimals = 18", f"decimals = {'9' * 5000}", "Exceeds the limit"),
        ('token = "opg"', 'token = "gold"', "unknown token"),
        ('token = "opg"\nmethod = "permit2"', 'token = "opg"\nmethod = "eip3009"', "cannot be paid by eip3009"),
        ("settle_margin_seconds = 60", "settle_margin_seconds = 0", "above zero"),
        ("settle_margin_seconds = 60", "settle_margin_seconds = 590", "must not be below settle_margin_seconds"),
        ("decimals = 18", "decimals = 18\nsupply = 1", "unknown field `supply`"),
        ("[wire]", "[wire", "Expected"),
        ('network = "eip155:8453"\naddress = "0xF', 'network = "base"\naddress = "0xF', "unknown network"),
    ],
)
def test_contradictions_are_refused_with_their_place(was: str, is_now: str, says: str) -> None:
    assert was in TEXT
    with pytest.raises(DefinitionsError, match=says):
        load(TEXT.replace(was, is_now, 1))
