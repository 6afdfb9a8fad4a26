"""What a payer sees on the chain: what it holds, and what a transaction moved."""

import re

from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from requests import RequestException
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception

from gateway.billing.definitions import Token
from tools.pay.errors import UnreachableError

_BALANCE_ABI = [
    {
        "name": "balanceOf",
        "type": "function",
        "stateMutability": "view",
        "inputs": [{"name": "account", "type": "address"}],
        "outputs": [{"name": "", "type": "uint256"}],
    }
]
_UNUSABLE = (Web3Exception, RequestException, ValueError, TypeError, LookupError, AttributeError)
"""What web3 raises for an endpoint that is away, or that answers something else."""
_TRANSFER = Web3.keccak(text="Transfer(address,address,uint256)")


class PayersChain:
    """Reads through one RPC endpoint; raises UnreachableError when it does not answer."""

    def __init__(self, rpc_url: str) -> None:
        self.web3 = Web3(Web3.HTTPProvider(rpc_url, request_kwargs={"timeout": 10}))

    def balance(self, token: Token, account: str) -> int:
        """In atomic units."""
        contract = self.web3.eth.contract(address=Web3.to_checksum_address(token.address), abi=_BALANCE_ABI)
        try:
            return int(contract.functions.balanceOf(Web3.to_checksum_address(account)).call())
        except _UNUSABLE as error:
            raise UnreachableError(f"the RPC endpoint does not tell the balance: {type(error).__name__}") from None

    def moved(self, transaction: str, token: Token, payer: str, payee: str) -> int | None:
        """Atomic units that went from payer to payee in a transaction; None when it is not on the chain."""
        if not re.fullmatch(r"0x[0-9a-fA-F]{64}", transaction):
            return None
        wanted = [_TRANSFER, *(HexBytes(bytes(12) + bytes.fromhex(each[2:])) for each in (payer, payee))]
        contract: ChecksumAddress = Web3.to_checksum_address(token.address)
        try:
            receipt = self.web3.eth.get_transaction_receipt(HexBytes(transaction))
            return sum(
                int.from_bytes(log["data"], "big")
                for log in receipt["logs"]
                if log["address"] == contract and log["topics"] == wanted
            )
        except TransactionNotFound:
            return None
        except _UNUSABLE as error:
            raise UnreachableError(f"the RPC endpoint does not tell the receipt: {type(error).__name__}") from None
