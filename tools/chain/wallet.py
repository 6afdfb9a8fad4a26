"""A key with its address: signs transactions, and pays as an unmodified x402 client would."""

from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from x402 import x402Client
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner, EthAccountSignerWithRPC
from x402.mechanisms.evm.upto import UptoEvmClientScheme


class Wallet:
    """An externally owned account. Without a key it makes one up."""

    def __init__(self, key: str | None = None) -> None:
        self.account: LocalAccount = Account.from_key(key) if key else Account.create()

    @property
    def address(self) -> str:
        return str(self.account.address)

    @property
    def key(self) -> str:
        return f"0x{bytes(self.account.key).hex()}"

    def sign(self, transaction: dict[str, Any]) -> str:
        """The raw transaction in hex."""
        return f"0x{bytes(self.account.sign_transaction(transaction).raw_transaction).hex()}"

    def x402_client(self, rpc_url: str | None = None) -> x402Client:
        """PyPI's client with the exact and upto schemes of every EVM network.

        With `rpc_url` it can read the chain and so adds an EIP-2612 permit where the offer asks for one. Spend
        controls are off: by default they refuse tokens that the package has no entry for (facts/x402.md 1.9).
        """
        signer = self._x402_signer(rpc_url)
        client = x402Client()
        register_exact_evm_client(client, signer)
        client.register("eip155:*", UptoEvmClientScheme(signer))
        client.set_spend_controls(False)
        return client

    def _x402_signer(self, rpc_url: str | None) -> EthAccountSigner:
        return EthAccountSignerWithRPC(self.account, rpc_url) if rpc_url else EthAccountSigner(self.account)


class ContractWallet(Wallet):
    """A contract (contracts/ContractAccount.sol) that pays with its owner's signatures, so that ECDSA recovery names
    the owner and not the payer. It sends no transactions; its owner does."""

    def __init__(self, owner: Wallet, address: str) -> None:
        super().__init__(owner.key)
        self._address = address

    @property
    def address(self) -> str:
        return self._address

    def _x402_signer(self, rpc_url: str | None) -> EthAccountSigner:
        if rpc_url is not None:
            raise ValueError("a contract account cannot sign an EIP-2612 permit")
        return _OwnerSigner(self.account, self._address)


class _OwnerSigner(EthAccountSigner):
    """Signs with the owner's key in the contract's name."""

    def __init__(self, owner: LocalAccount, address: str) -> None:
        super().__init__(owner)
        self._contract = address

    @property
    def address(self) -> str:
        return self._contract
