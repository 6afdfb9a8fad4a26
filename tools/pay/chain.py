"""What a payer reads from the chain: its balance, and the transfers of a transaction."""

import re
from typing import Any

from hexbytes import HexBytes
from requests import RequestException
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3Exception

from gateway.billing.definitions import Token
from tools.verify.errors import UnreachableError

_BALANCE_ABI = [
    {
        "name": "balanceOf",
        "type": "function",
        "stateMutability": "view",
        "inputs": [{"name": "account", "type": "address"}],
        "outputs": [{"name": "", "type": "uint256"}],
    }
]
_RPC_ERRORS = (Web3Exception, RequestException, ValueError, TypeError, LookupError, AttributeError)
"""What web3 raises for an endpoint that is unreachable or returns something else."""
_TRANSFER = Web3.keccak(text="Transfer(address,address,uint256)")


class ChainReader:
    """Reads from one RPC endpoint; raises UnreachableError if it fails."""

    def __init__(self, rpc_url: str) -> None:
        self._web3 = Web3(Web3.HTTPProvider(rpc_url, request_kwargs={"timeout": 10}))

    def call(self, address: str, abi: list[dict[str, Any]], function: str, *arguments: Any) -> Any:
        """What a function of the contract at ``address`` returns."""
        contract = self._web3.eth.contract(address=Web3.to_checksum_address(address), abi=abi)
        try:
            return contract.functions[function](*arguments).call()
        except _RPC_ERRORS as error:
            raise UnreachableError(f"the RPC endpoint did not return {function}: {type(error).__name__}") from None

    def balance(self, token: Token, account: str) -> int:
        """In atomic units."""
        return int(self.call(token.address, _BALANCE_ABI, "balanceOf", Web3.to_checksum_address(account)))

    def transferred(self, transaction: str, token: Token, payer: str, payee: str) -> int | None:
        """Atomic units transferred from payer to payee in a transaction; None if it is not on the chain."""
        if not re.fullmatch(r"0x[0-9a-fA-F]{64}", transaction):
            return None
        topics = [_TRANSFER, *(HexBytes(bytes(12) + bytes.fromhex(each[2:])) for each in (payer, payee))]
        contract = Web3.to_checksum_address(token.address)
        try:
            receipt = self._web3.eth.get_transaction_receipt(HexBytes(transaction))
            return sum(
                int.from_bytes(log["data"], "big")
                for log in receipt["logs"]
                if log["address"] == contract and log["topics"] == topics
            )
        except TransactionNotFound:
            return None
        except _RPC_ERRORS as error:
            raise UnreachableError(f"the RPC endpoint did not return the receipt: {type(error).__name__}") from None
