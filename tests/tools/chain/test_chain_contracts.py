"""The committed contract artefacts match what their sources compile to, and the first block contains them."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account.messages import encode_typed_data

from gateway.keccak import keccak256
from tools.chain.contract import ARTIFACTS, Contract
from tools.chain.deployment import CHAIN_ID, CONTRACTS, PAYER, PERMIT2, TOKENS, USDC, Token
from tools.chain.genesis import OPENING_TOKENS
from tools.chain.local_chain import LocalChain
from tools.chain.payments import Payment, exact_offer
from tools.chain.rpc_error import RpcError
from tools.chain.wallet import Wallet

SOURCES = Path(__file__).parents[3] / "tools" / "chain"


def domain_separator(**domain: str | int) -> bytes:
    """As computed by eth-account."""
    kinds = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    fields = [{"name": name, "type": kinds[name]} for name in domain]
    types = {"EIP712Domain": fields, "Empty": []}
    message = {"types": types, "primaryType": "Empty", "domain": domain, "message": {}}
    return bytes(encode_typed_data(full_message=message).header)


@pytest.mark.slow
@pytest.mark.needs("npm")
def test_sources_compile_to_the_committed_bytes(tmp_path: Path) -> None:
    compiler = tmp_path / "chain"
    shutil.copytree(SOURCES, compiler, ignore=shutil.ignore_patterns("*.py", "__pycache__", "node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=compiler, check=True, capture_output=True)
    compiled = subprocess.run(["node", "compile.mjs", "--check"], cwd=compiler, check=False, capture_output=True)
    assert compiled.returncode == 0, compiled.stdout.decode() + compiled.stderr.decode()
    assert compiled.stdout.count(b"same bytes") == len(list(ARTIFACTS.glob("*.json")))


@pytest.mark.parametrize(("address", "name"), CONTRACTS.items(), ids=CONTRACTS.values())
async def test_contracts_lie_at_their_canonical_addresses(chain: LocalChain, address: str, name: str) -> None:
    assert await chain.rpc("eth_getCode", address, "latest") == f"0x{Contract.load(name).code.hex()}"


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.symbol)
async def test_tokens_know_themselves(chain: LocalChain, token: Token) -> None:
    read = [await chain.call("Token", token.address, field) for field in ("name", "symbol", "version", "decimals")]
    assert read == [token.name, token.symbol, token.version, token.decimals]
    assert await chain.balance(token, PAYER.address) == OPENING_TOKENS * 10**token.decimals


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.symbol)
async def test_token_domain_is_the_one_that_payers_sign(chain: LocalChain, token: Token) -> None:
    expected = domain_separator(
        name=token.name, version=token.version, chainId=CHAIN_ID, verifyingContract=token.address
    )
    assert await chain.call("Token", token.address, "DOMAIN_SEPARATOR") == expected


async def test_permit2_domain_has_no_version(chain: LocalChain) -> None:
    expected = domain_separator(name="Permit2", chainId=CHAIN_ID, verifyingContract=PERMIT2)
    assert await chain.call("Permit2", PERMIT2, "DOMAIN_SEPARATOR") == expected


def test_reverts_are_named() -> None:
    permit2 = Contract.load("Permit2")
    assert permit2.error(keccak256(b"InvalidNonce()")[:4]) == "InvalidNonce"
    assert permit2.error(b"\x01\x02\x03\x04") == "0x01020304"


def test_unknown_function_is_an_error() -> None:
    with pytest.raises(LookupError, match="Token has no function transfer of 3 arguments"):
        Contract.load("Token").encode("transfer", PAYER.address, 1, 2)


def compact(signature: bytes) -> bytes:
    """EIP-2098: the parity bit moves into the top of s."""
    return signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]


@pytest.mark.parametrize("encoding", [bytes, compact], ids=["65 bytes", "64 bytes"])
async def test_authorization_with_a_packed_signature(chain: LocalChain, encoding: Callable[[bytes], bytes]) -> None:
    wallet, payee = await chain.wallet(usdc=10), Wallet().address
    payment = await Payment.sign(wallet, exact_offer(USDC, 10, payee=payee))
    fields = payment.authorization
    arguments = (
        wallet.address,
        payee,
        10,
        int(fields["validAfter"]),
        int(fields["validBefore"]),
        bytes.fromhex(fields["nonce"][2:]),
    )
    signature = encoding(bytes.fromhex(payment.payload.payload["signature"][2:]))
    await chain.send(wallet, "Token", USDC.address, "transferWithAuthorization", *arguments, signature)
    assert await chain.balance(USDC, payee) == 10
    with pytest.raises(RpcError, match="authorization is used or canceled"):
        await chain.send(wallet, "Token", USDC.address, "transferWithAuthorization", *arguments, signature)


async def test_a_contract_account_has_one_owner(chain: LocalChain) -> None:
    account = await chain.contract_wallet()
    stranger = await chain.wallet()
    with pytest.raises(RpcError, match="claimed already"):
        await chain.send(stranger, "ContractAccount", account.address, "claim")
    with pytest.raises(RpcError, match="caller is not the owner"):
        await chain.send(stranger, "ContractAccount", account.address, "execute", USDC.address, b"")
