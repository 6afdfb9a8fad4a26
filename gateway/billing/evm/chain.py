"""What the gateway reads from the chain: payers' funds, used nonces, transfers (facts/x402.md 4 rows 6, 20)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.billing.definitions import Definitions, Network, Token
from gateway.billing.evm import eip712, eip2612
from gateway.billing.evm import values as evm
from gateway.billing.evm.rpc import Call, CallRevertedError, ChainUnavailableError, JsonRpc, as_hex_text, as_integer
from gateway.billing.evm.transfers import TransferMatcher, log_entries, transfer_topics
from gateway.billing.journal import Entry
from gateway.billing.x402 import EIP2612_EXTENSION
from gateway.keccak import keccak256

_SLACK_BLOCKS = 300
_BLOCKS_AT_ONCE = 500
"""How many one call searches. Endpoints list 10,000 events at most, here ten payments a second of one payer, and some
search no more than 1,000 blocks (erigontech/erigon PR 20784)."""


def _selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


_BALANCE = _selector("balanceOf(address)")
_ALLOWANCE = _selector("allowance(address,address)")
_AUTHORIZATION_STATE = _selector("authorizationState(address,bytes32)")
_NONCE_BITMAP = _selector("nonceBitmap(address,uint256)")
_DOMAIN_SEPARATOR = _selector("DOMAIN_SEPARATOR()")
_NONCES = _selector("nonces(address)")

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Funds:
    """A payer's balance and its Permit2 allowance, in atomic units."""

    balance: int
    allowance: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """``matches`` is the number of transfers of this amount in a transaction that was found by searching, else None."""

    transaction: str
    amount: int
    matches: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """``time`` in Unix seconds."""

    number: int
    time: int


class Chain:
    """Reads one network from the RPC endpoint at ``url``. The caller closes ``session``."""

    def __init__(self, session: aiohttp.ClientSession, url: str, definitions: Definitions) -> None:
        self._rpc = JsonRpc(session, url)
        self._definitions = definitions
        self._permit2 = evm.address(definitions.contracts.permit2)
        self._transfers = TransferMatcher(definitions.contracts)
        self._chain_id: int | None = None

    async def serves(self, network: Network) -> bool:
        """Whether the endpoint belongs to this network."""
        if self._chain_id is None:
            self._chain_id = as_integer((await self._rpc.batch([("eth_chainId", [])]))[0])
        return self._chain_id == network.chain_id

    async def time(self, block: str = LATEST) -> int:
        """The timestamp of ``block``, in Unix seconds."""
        return (await self._block(block)).time

    async def _block(self, block: str) -> Block:
        value = (await self._rpc.batch([("eth_getBlockByNumber", [block, False])]))[0]
        if not isinstance(value, dict):
            raise ChainUnavailableError("eth_getBlockByNumber: no block")
        return Block(as_integer(value.get("number")), as_integer(value.get("timestamp")))

    async def has_code(self, account: bytes, block: str = LATEST) -> bool:
        """Whether an account is a contract or has delegated to one (EIP-7702), as of ``block``."""
        code = (await self._rpc.batch([("eth_getCode", [evm.as_hex(account), block])]))[0]
        return as_hex_text(code) != "0x0"

    async def funds(self, token: Token, payer: bytes, block: str = LATEST) -> Funds:
        address = evm.address(token.address)
        balance, allowance = await self._rpc.batch(
            [
                _eth_call(address, _BALANCE + evm.word(payer), block),
                _eth_call(address, _ALLOWANCE + evm.word(payer) + evm.word(self._permit2), block),
            ]
        )
        return Funds(as_integer(balance), as_integer(allowance))

    async def can_permit(self, entry: Entry, token: Token, block: str) -> bool:
        """Whether the payment has an EIP-2612 permit that could still be used as of ``block``."""
        permit = (entry.payment.extensions or {}).get(EIP2612_EXTENSION)
        if permit is None:
            return False
        nonces = _eth_call(evm.address(token.address), _NONCES + evm.word(entry.payer), block)
        try:
            nonce = as_integer((await self._rpc.batch([nonces]))[0])
        except CallRevertedError:
            return False
        return eip2612.is_usable(permit, nonce, self._domain(token))

    async def supports_permits(self, token: Token) -> bool:
        """Whether a token implements EIP-2612 with the domain of its definition. Raises ChainUnavailableError."""
        address, expected = evm.address(token.address), self._domain(token)
        try:
            domain, _ = await self._rpc.batch(
                [_eth_call(address, _DOMAIN_SEPARATOR), _eth_call(address, _NONCES + evm.word(b""))]
            )
        except CallRevertedError:
            return False
        return as_hex_text(domain) == evm.as_hex(expected)

    def _domain(self, token: Token) -> bytes:
        chain_id = self._definitions.network(token).chain_id
        return eip712.token_domain(token.name, token.version, chain_id, evm.address(token.address))

    async def nonce_used(self, entry: Entry, since: str = LATEST) -> Block | None:
        """The latest block if the payment's nonce is used, or cancelled by the payer, as of it; else None.

        An endpoint may be several nodes, and ask another one for each call, also of a batch: the call names the block,
        and one before ``since`` raises ChainUnavailableError.
        """
        payer = evm.word(entry.payer)
        if entry.nonce_contract == self._permit2:
            data, offset = _NONCE_BITMAP + payer + evm.word(entry.nonce[:31]), entry.nonce[31]
        else:
            data, offset = _AUTHORIZATION_STATE + payer + entry.nonce, 0
        latest = await self._block(LATEST)
        if since != LATEST and latest.number < int(since, 16):
            raise ChainUnavailableError("eth_getBlockByNumber: the endpoint is behind a block that it reported earlier")
        bits = (await self._rpc.batch([_eth_call(entry.nonce_contract, data, hex(latest.number))]))[0]
        return latest if as_integer(bits) >> offset & 1 else None

    async def transfer(self, entry: Entry, transaction: str) -> Transfer | None:
        """The payment's transfer in ``transaction``; None if that is not mined or does not contain it.

        The call must carry the signed message, so that no other payment of the same payer is taken for this one.
        """
        mined = await self._receipt_and_call(transaction)
        if mined is None or not (amounts := self._transfers.amounts(entry, *mined)):
            return None
        return Transfer(transaction.lower(), amounts[0])

    async def block_of(self, transaction: str) -> str | None:
        """The block of a transaction, as a parameter of RPC calls; None while it is in none.

        ``LATEST`` if ``transaction`` is not a hash, because nothing was sent.
        """
        try:
            name = evm.as_hex(evm.bytes32(transaction))
        except ValueError:
            return LATEST
        receipt = (await self._rpc.batch([("eth_getTransactionReceipt", [name])]))[0]
        number = receipt.get("blockNumber") if isinstance(receipt, dict) else None
        return None if number is None else hex(as_integer(number))

    async def _receipt_and_call(self, transaction: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Receipt and call of a transaction; None if it is not mined."""
        try:
            name = evm.as_hex(evm.bytes32(transaction))
        except ValueError:
            return None
        receipt, sent = await self._rpc.batch(
            [("eth_getTransactionReceipt", [name]), ("eth_getTransactionByHash", [name])]
        )
        return (receipt, sent) if isinstance(receipt, dict) and isinstance(sent, dict) else None

    async def find_transfer(self, entry: Entry, used: Block) -> Transfer | None:
        """Search the transfers from payer to payee in the validity period for the payment's transfer.

        ``used`` is the block as of which the nonce was used. An endpoint may be several nodes: raises
        ChainUnavailableError when one answers that is behind that block, by its height or by refusing the range.

        Only a transfer of the requested amount counts: a payer can put the signed message into a call of its own that
        pays less, and cancel the nonce. One call can carry several messages, so ``matches`` counts its such transfers.
        The transactions of others, of which a payer may have thousands, are not read.
        """
        for first, last in self._block_ranges(entry, used):
            for event in await self._transfer_events(entry, used, first, last):
                if as_integer(event.get("data")) == entry.amount and (found := await self._matching(entry, event)):
                    return found
        return None

    async def _transfer_events(self, entry: Entry, used: Block, first: int, last: int) -> list[dict[str, Any]]:
        """The transfers from payer to payee in the blocks ``first`` to ``last``, the latest first."""
        criteria = {
            "address": entry.token,
            "topics": transfer_topics(entry),
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        latest, logs = await self._rpc.batch([("eth_blockNumber", []), ("eth_getLogs", [criteria])])
        if as_integer(latest) < used.number:
            raise ChainUnavailableError("eth_getLogs: the endpoint is behind a block that it reported earlier")
        return log_entries(logs)[::-1]

    async def _matching(self, entry: Entry, event: dict[str, Any]) -> Transfer | None:
        """The payment's transfer, if it is in the transaction of ``event``."""
        transaction = str(event.get("transactionHash"))
        if (mined := await self._receipt_and_call(transaction)) is None:
            raise ChainUnavailableError("the transaction of a log was not found")
        amounts = self._transfers.amounts(entry, *mined)
        if not amounts or amounts[0] != entry.amount:
            return None
        return Transfer(transaction.lower(), amounts[0], amounts.count(amounts[0]))

    def _block_ranges(self, entry: Entry, latest: Block) -> Iterator[tuple[int, int]]:
        """The blocks from the earliest time that ``entry`` can have been signed to its deadline, with some slack.

        In steps, the latest first.
        """
        seconds = self._definitions.networks[entry.network].block_seconds
        until = latest.number - (latest.time - entry.deadline) // seconds
        since = max(0, until - self._definitions.deadlines.furthest_seconds // seconds - _SLACK_BLOCKS)
        last = max(0, min(until + _SLACK_BLOCKS, latest.number))
        while (first := max(since, last - _BLOCKS_AT_ONCE + 1)) > since:
            yield first, last
            last = first - 1
        yield since, last


def _eth_call(contract: bytes, data: bytes, block: str = LATEST) -> Call:
    return "eth_call", [{"to": evm.as_hex(contract), "data": evm.as_hex(data)}, block]
