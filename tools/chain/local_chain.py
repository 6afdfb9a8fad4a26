"""`LocalChain`: runs the node's process and queries balances, allowances, nonces and transfers."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from eth_utils.address import to_checksum_address

from gateway.keccak import keccak256
from tools.chain.contract import Contract
from tools.chain.deployment import CHAIN_ID, OPG, PERMIT2, USDC, Token
from tools.chain.rpc_error import RpcError
from tools.chain.wallet import ContractWallet, Wallet

REPOSITORY = Path(__file__).parents[2]
STOP_SECONDS = 5
ETHER = 10**18
PRIORITY_FEE = 10**9
GAS = 2_000_000
"""More than any call needs: an estimate runs the call a dozen times."""
TRANSFER_TOPIC = f"0x{keccak256(b'Transfer(address,address,uint256)').hex()}"

Receipt = dict[str, Any]


class TransactionFailedError(Exception):
    """A transaction was mined and reverted."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """An ERC-20 `Transfer` event; `amount` in atomic units."""

    payer: str
    payee: str
    amount: int
    transaction: str


class LocalChain:
    """A chain of its own for as long as the context lasts, `with` or `async with`.

    Nothing in it belongs to an event loop, so one chain may serve tests that each run their own. Blocks are mined at
    once until `stop_mining`.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.rpc_url = ""

    def start(self) -> None:
        """Blocks for the second that the node takes to listen."""
        command = [sys.executable, "-m", "tools.chain.node"]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None  # noqa: S101 (a pipe was asked for)
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError(f"the local chain did not start: {' '.join(command)}")
        self.rpc_url = json.loads(line)["rpc_url"]

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    async def rpc(self, method: str, *parameters: Any) -> Any:
        """One JSON-RPC call. Raises RpcError."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        async with aiohttp.ClientSession() as session, session.post(self.rpc_url, json=request) as response:
            answer = await response.json()
        if error := answer.get("error"):
            raise RpcError(error["code"], error["message"], error.get("data"))
        return answer["result"]

    async def call(self, contract: str, address: str, function: str, *arguments: Any) -> Any:
        """Reads from a contract, by the name of its artefact."""
        artifact = Contract.load(contract)
        message = {"to": address, "data": f"0x{artifact.encode(function, *arguments).hex()}"}
        return artifact.decode(function, bytes.fromhex((await self.rpc("eth_call", message, "latest"))[2:]))

    async def send(self, wallet: Wallet, contract: str, address: str, function: str, *arguments: Any) -> str:
        """Signs a call and sends it; its transaction hash.

        Raises RpcError when the node refuses it or it would revert, TransactionFailedError when it did revert. While
        mining is stopped the transaction waits.
        """
        message = {
            "from": wallet.address,
            "to": address,
            "data": f"0x{Contract.load(contract).encode(function, *arguments).hex()}",
        }
        await self.rpc("eth_call", message, "latest")
        base_fee = int((await self.rpc("eth_getBlockByNumber", "latest", False))["baseFeePerGas"], 16)
        transaction = {
            "to": address,
            "data": message["data"],
            "value": 0,
            "chainId": CHAIN_ID,
            "nonce": int(await self.rpc("eth_getTransactionCount", wallet.address, "pending"), 16),
            "gas": GAS,
            "maxFeePerGas": 2 * base_fee + PRIORITY_FEE,
            "maxPriorityFeePerGas": PRIORITY_FEE,
        }
        transaction_hash: str = await self.rpc("eth_sendRawTransaction", wallet.sign(transaction))
        receipt = await self.receipt(transaction_hash)
        if receipt is not None and receipt["status"] != "0x1":
            raise TransactionFailedError(f"{contract}.{function} reverted in {transaction_hash}")
        return transaction_hash

    async def receipt(self, transaction_hash: str) -> Receipt | None:
        """None until the transaction is mined."""
        receipt: Receipt | None = await self.rpc("eth_getTransactionReceipt", transaction_hash)
        return receipt

    async def wallet(self, *, usdc: int = 0, opg: int = 0, approve: bool = False) -> Wallet:
        """A new wallet with one ether and so many atomic units of each token, with Permit2 approved for both or not."""
        wallet = Wallet()
        await self.set_ether(wallet.address, ETHER)
        for token, amount in ((USDC, usdc), (OPG, opg)):
            if amount:
                await self.mint(wallet, token, amount)
            if approve:
                await self.approve_permit2(wallet, token)
        return wallet

    async def contract_wallet(self, *, usdc: int = 0, approve: bool = False) -> ContractWallet:
        """A new payer that is a contract, with so many atomic units of USDC, with Permit2 approved or not."""
        owner, contract = await self.wallet(), Wallet().address
        await self.rpc("anvil_setCode", contract, f"0x{Contract.load('ContractAccount').code.hex()}")
        await self.send(owner, "ContractAccount", contract, "claim")
        await self.mint(owner, USDC, usdc, to=contract)
        if approve:
            approval = Contract.load("Token").encode("approve", PERMIT2, 2**256 - 1)
            await self.send(owner, "ContractAccount", contract, "execute", USDC.address, approval)
        return ContractWallet(owner, contract)

    async def mint(self, wallet: Wallet, token: Token, amount: int, *, to: str | None = None) -> str:
        """Anyone may mint, for themselves or for another."""
        return await self.send(wallet, "Token", token.address, "mint", to or wallet.address, amount)

    async def transfer(self, wallet: Wallet, token: Token, payee: str, amount: int) -> str:
        return await self.send(wallet, "Token", token.address, "transfer", payee, amount)

    async def approve_permit2(self, wallet: Wallet, token: Token, amount: int = 2**256 - 1) -> str:
        return await self.send(wallet, "Token", token.address, "approve", PERMIT2, amount)

    async def invalidate_permit2_nonce(self, wallet: Wallet, nonce: int) -> str:
        """What a payer does to take a signed permit back."""
        word, bit = nonce >> 8, nonce & 0xFF
        return await self.send(wallet, "Permit2", PERMIT2, "invalidateUnorderedNonces", word, 1 << bit)

    async def cancel_authorization(self, wallet: Wallet, token: Token, nonce: bytes) -> str:
        """What a payer does to take a signed EIP-3009 authorization back."""
        fields = [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]
        signature = wallet.account.sign_typed_data(
            domain_data={**token.domain, "chainId": CHAIN_ID, "verifyingContract": token.address},
            message_types={"CancelAuthorization": fields},
            message_data={"authorizer": wallet.address, "nonce": nonce},
        )
        r, s = (number.to_bytes(32, "big") for number in (signature.r, signature.s))
        return await self.send(
            wallet, "Token", token.address, "cancelAuthorization", wallet.address, nonce, signature.v, r, s
        )

    async def balance(self, token: Token, account: str) -> int:
        """In atomic units."""
        return int(await self.call("Token", token.address, "balanceOf", account))

    async def allowance(self, token: Token, owner: str, spender: str = PERMIT2) -> int:
        return int(await self.call("Token", token.address, "allowance", owner, spender))

    async def permits_used(self, token: Token, owner: str) -> int:
        """The owner's next EIP-2612 nonce."""
        return int(await self.call("Token", token.address, "nonces", owner))

    async def authorization_used(self, token: Token, payer: str, nonce: bytes) -> bool:
        """Whether an EIP-3009 nonce was used or cancelled."""
        return bool(await self.call("Token", token.address, "authorizationState", payer, nonce))

    async def permit2_nonce_used(self, owner: str, nonce: int) -> bool:
        """Whether a Permit2 nonce was used or invalidated."""
        word = int(await self.call("Permit2", PERMIT2, "nonceBitmap", owner, nonce >> 8))
        return bool(word >> (nonce & 0xFF) & 1)

    async def transfers(
        self, token: Token, *, payer: str | None = None, payee: str | None = None, from_block: int = 0
    ) -> list[Transfer]:
        """Every transfer of a token in order, mints included, narrowed by who paid and who was paid."""
        topics = [TRANSFER_TOPIC, *(None if account is None else _topic(account) for account in (payer, payee))]
        criteria = {"address": token.address, "topics": topics, "fromBlock": hex(from_block), "toBlock": "latest"}
        return [
            Transfer(
                payer=to_checksum_address(log["topics"][1][-40:]),
                payee=to_checksum_address(log["topics"][2][-40:]),
                amount=int(log["data"], 16),
                transaction=log["transactionHash"],
            )
            for log in await self.rpc("eth_getLogs", criteria)
        ]

    async def block_number(self) -> int:
        return int(await self.rpc("eth_blockNumber"), 16)

    async def stop_mining(self) -> None:
        """From now on transactions are taken and wait."""
        await self.rpc("evm_setAutomine", False)

    async def start_mining(self) -> None:
        """Mines what waits, and from now on every transaction at once."""
        await self.rpc("evm_setAutomine", True)

    async def mine(self) -> None:
        """One block with what waits."""
        await self.rpc("evm_mine")

    async def set_ether(self, account: str, wei: int) -> None:
        await self.rpc("anvil_setBalance", account, hex(wei))


def _topic(address: str) -> str:
    return f"0x{'0' * 24}{address[2:].lower()}"
