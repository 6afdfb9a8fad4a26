"""The first block: ether for the demo wallets, code at canonical addresses, tokens with names and a funded payer."""

from eth.typing import AccountDetails, AccountState
from eth_utils.address import to_canonical_address

from gateway.keccak import keccak256
from tools.chain.contract import Contract
from tools.chain.deployment import CONTRACTS, FACILITATOR, PAYEE, PAYER, TOKENS, Token

ETHER = 10**18
OPENING_ETHER = 1_000 * ETHER
OPENING_TOKENS = 1_000
"""Whole units of every token that the demo payer holds in the first block."""


def genesis_state() -> AccountState:
    """Balances, code and storage of the first block, keyed by 20-byte address, as py-evm takes it."""
    state: AccountState = {
        to_canonical_address(pair.address): _account(balance=OPENING_ETHER) for pair in (PAYER, PAYEE, FACILITATOR)
    }
    for address, name in CONTRACTS.items():
        state[to_canonical_address(address)] = _account(code=Contract.load(name).code)
    for token in TOKENS:
        state[to_canonical_address(token.address)]["storage"] = _token_storage(token)
    return state


def _account(balance: int = 0, code: bytes = b"") -> AccountDetails:
    return {"balance": balance, "nonce": 0, "code": code, "storage": {}}


def _token_storage(token: Token) -> dict[int, int]:
    slot = Contract.load("Token").storage
    supply = OPENING_TOKENS * 10**token.decimals
    return {
        slot["name"]: _short_string(token.name),
        slot["symbol"]: _short_string(token.symbol),
        slot["version"]: _short_string(token.version),
        slot["decimals"]: token.decimals,
        slot["totalSupply"]: supply,
        _mapping_slot(slot["balanceOf"], PAYER.address): supply,
    }


def _short_string(text: str) -> int:
    """Solidity's storage form of a string under 32 bytes: left-aligned, the last byte is twice the length."""
    data = text.encode()
    if len(data) > 31:
        raise ValueError(f"{text!r} does not fit one storage slot")
    return int.from_bytes(data.ljust(31, b"\0") + bytes([2 * len(data)]), "big")


def _mapping_slot(slot: int, address: str) -> int:
    key = to_canonical_address(address).rjust(32, b"\0") + slot.to_bytes(32, "big")
    return int.from_bytes(keccak256(key), "big")
