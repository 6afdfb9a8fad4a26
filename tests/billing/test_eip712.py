"""Our EIP-712 against eth-account's general encoder and x402's own clients."""

import secrets

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.billing.authorization import read, signed_by_payer
from gateway.billing.definitions import bundled
from gateway.billing.evm import eip712
from gateway.billing.evm.values import address, as_hex, checksummed
from gateway.billing.x402 import read_payment
from gateway.keccak import keccak256
from tests.billing import payers

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
CONTRACTS = bundled().contracts

uints = st.integers(min_value=0, max_value=2**256 - 1)
addresses = st.binary(min_size=20, max_size=20)


@given(addresses)
def test_checksum_agrees_with_eth_utils(value: bytes) -> None:
    assert checksummed(value) == to_checksum_address(value)


@given(token=addresses, amount=uints, spender=addresses, nonce=uints, deadline=uints, payee=addresses, after=uints)
@pytest.mark.parametrize("facilitator", [None, b"\x22" * 20])
def test_permit2_digest_is_the_general_encoders(
    token: bytes,
    amount: int,
    spender: bytes,
    nonce: int,
    deadline: int,
    payee: bytes,
    after: int,
    facilitator: bytes | None,
) -> None:
    witness_type = [{"name": "to", "type": "address"}]
    witness: dict[str, object] = {"to": as_hex(payee), "validAfter": after}
    if facilitator is not None:
        witness_type.append({"name": "facilitator", "type": "address"})
        witness["facilitator"] = as_hex(facilitator)
    witness_type.append({"name": "validAfter", "type": "uint256"})
    message = encode_typed_data(
        {"name": "Permit2", "chainId": 8453, "verifyingContract": CONTRACTS.permit2},
        {
            "PermitWitnessTransferFrom": [
                {"name": "permitted", "type": "TokenPermissions"},
                {"name": "spender", "type": "address"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
                {"name": "witness", "type": "Witness"},
            ],
            "TokenPermissions": [{"name": "token", "type": "address"}, {"name": "amount", "type": "uint256"}],
            "Witness": witness_type,
        },
        {
            "permitted": {"token": as_hex(token), "amount": amount},
            "spender": as_hex(spender),
            "nonce": nonce,
            "deadline": deadline,
            "witness": witness,
        },
    )
    ours = eip712.permit2_digest(
        eip712.permit2_domain(8453, address(CONTRACTS.permit2)),
        token=token,
        amount=amount,
        spender=spender,
        nonce=nonce,
        deadline=deadline,
        payee=payee,
        facilitator=facilitator,
        valid_after=after,
    )
    assert ours == keccak256(b"\x19" + message.version + message.header + message.body)


@given(payer=addresses, payee=addresses, value=uints, after=uints, before=uints, nonce=uints)
def test_transfer_digest_is_the_general_encoders(
    payer: bytes, payee: bytes, value: int, after: int, before: int, nonce: int
) -> None:
    token = bundled().tokens["usdc"]
    message = encode_typed_data(
        {"name": token.name, "version": token.version, "chainId": 8453, "verifyingContract": token.address},
        {
            "TransferWithAuthorization": [
                {"name": "from", "type": "address"},
                {"name": "to", "type": "address"},
                {"name": "value", "type": "uint256"},
                {"name": "validAfter", "type": "uint256"},
                {"name": "validBefore", "type": "uint256"},
                {"name": "nonce", "type": "bytes32"},
            ]
        },
        {
            "from": as_hex(payer),
            "to": as_hex(payee),
            "value": value,
            "validAfter": after,
            "validBefore": before,
            "nonce": nonce.to_bytes(32, "big"),
        },
    )
    ours = eip712.transfer_digest(
        eip712.token_domain(token.name, token.version, 8453, address(token.address)),
        payer=payer,
        payee=payee,
        value=value,
        valid_after=after,
        valid_before=before,
        nonce=nonce,
    )
    assert ours == keccak256(b"\x19" + message.version + message.header + message.body)


@pytest.mark.parametrize("offer", range(len(bundled().offers)))
def test_x402_clients_are_recovered(offer: int) -> None:
    payer = payers.account()
    wire = payers.requirements(offer)
    terms = payers.terms(offer)
    header = payers.header(payers.client_payload(payer, wire), wire)
    authorization = read(read_payment(header, max_bytes=16384, max_depth=12).payload)
    assert authorization.payer == address(payer.address)
    assert signed_by_payer(authorization, terms, CONTRACTS)
    elsewhere = replace(terms, network=replace(terms.network, chain_id=1))
    assert not signed_by_payer(authorization, elsewhere, CONTRACTS)


@given(st.binary(min_size=32, max_size=32))
def test_every_form_of_one_signature_is_the_same(message: bytes) -> None:
    account = Account.from_key(keccak256(b"payer"))
    signed = account.unsafe_sign_hash(message)
    r, s, parity = signed.r.to_bytes(32, "big"), signed.s, signed.v - 27
    low = r + s.to_bytes(32, "big") + bytes([signed.v])
    forms = [
        low,
        low[:64] + bytes([parity]),
        r + (ORDER - s).to_bytes(32, "big") + bytes([28 - parity]),
        r + (ORDER - s).to_bytes(32, "big") + bytes([1 - parity]),
        r + (s | parity << 255).to_bytes(32, "big"),
    ]
    assert {eip712.normalise_signature(form) for form in forms} == {low}
    assert eip712.recover(message, low) == address(account.address)


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32))
def test_garbage_recovers_to_nobody_known(signature: bytes, message: bytes) -> None:
    recovered = eip712.recover(message, eip712.normalise_signature(signature))
    assert recovered is None or len(recovered) == 20


def test_contract_signatures_are_left_alone() -> None:
    for signature in (b"", secrets.token_bytes(64) + b"\x05", secrets.token_bytes(500)):
        assert eip712.normalise_signature(signature) == signature
        assert eip712.recover(b"\1" * 32, signature) is None
