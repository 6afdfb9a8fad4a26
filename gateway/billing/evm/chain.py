"""What the chain itself says, over JSON-RPC: a payer's funds, used nonces, transfers (facts/x402.md 4 rows 6, 20)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from gateway.billing.definitions import Definitions, Network, Token
from gateway.billing.evm import eip712
from gateway.billing.evm import values as evm
from gateway.billing.journal import Entry
from gateway.keccak import keccak256

_SECONDS = 8.0
_SLACK_BLOCKS = 300
_MOST_BYTES = 16 << 20
"""Of one answer: the receipt of a transaction that fills a block has less."""

_CALL, _WORD = len("0x") + 8, 64
_MESSAGE_PLACES = (_CALL, _CALL + 5 * _WORD)
"""Where a call's data in hexadecimal has the signed message: first, or behind an EIP-2612 permit's five words."""

_TRANSFER = evm.as_hex(keccak256(b"Transfer(address,address,uint256)"))


def _selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


_BALANCE = _selector("balanceOf(address)")
_ALLOWANCE = _selector("allowance(address,address)")
_AUTHORIZATION_STATE = _selector("authorizationState(address,bytes32)")
_NONCE_BITMAP = _selector("nonceBitmap(address,uint256)")
_DOMAIN_SEPARATOR = _selector("DOMAIN_SEPARATOR()")
_NONCES = _selector("nonces(address)")

_NO_ANSWER = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError)

Call = tuple[str, list[Any]]
_LATEST: Call = ("eth_getBlockByNumber", ["latest", False])


class ChainUnavailableError(Exception):
    """The RPC endpoint gave no usable answer; says why."""


class CallRevertedError(ChainUnavailableError):
    """A contract does not do what it was called for."""


@dataclass(frozen=True, slots=True)
class Funds:
    """Atomic units: what a payer has, and what Permit2 may take of it."""

    balance: int
    allowance: int


@dataclass(frozen=True, slots=True)
class Transfer:
    transaction: str
    amount: int
    matches: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """``time`` in Unix seconds."""

    number: int
    time: int


class Chain:
    """Reads one network through ``url``. ``session`` stays its owner's."""

    def __init__(self, session: aiohttp.ClientSession, url: str, definitions: Definitions) -> None:
        self._session = session
        self._url = url
        self._definitions = definitions
        self._permit2 = evm.address(definitions.contracts.permit2)
        self._proxies = {definitions.contracts.exact_proxy.lower(), definitions.contracts.upto_proxy.lower()}
        self._chain_id: int | None = None

    async def serves(self, network: Network) -> bool:
        """Whether the endpoint is one of this network."""
        if self._chain_id is None:
            self._chain_id = _number((await self._ask([("eth_chainId", [])]))[0])
        return self._chain_id == network.chain_id

    async def time(self) -> int:
        """The latest block's, in Unix seconds."""
        return _block((await self._ask([_LATEST]))[0]).time

    async def has_code(self, account: bytes) -> bool:
        """Whether an account is a contract, or has delegated to one (EIP-7702)."""
        code = (await self._ask([("eth_getCode", [evm.as_hex(account), "latest"])]))[0]
        return _text(code) != "0x0"

    async def funds(self, token: Token, payer: bytes) -> Funds:
        address = evm.address(token.address)
        balance, allowance = await self._ask(
            [
                _eth_call(address, _BALANCE + evm.word(payer)),
                _eth_call(address, _ALLOWANCE + evm.word(payer) + evm.word(self._permit2)),
            ]
        )
        return Funds(_number(balance), _number(allowance))

    async def supports_permits(self, token: Token) -> bool:
        """Whether a token really has EIP-2612 with the domain that we know it by. A node that is away knows nothing of
        that: raises ChainUnavailableError."""
        address = evm.address(token.address)
        chain_id = self._definitions.network(token).chain_id
        expected = eip712.token_domain(token.name, token.version, chain_id, address)
        try:
            domain, _ = await self._ask(
                [_eth_call(address, _DOMAIN_SEPARATOR), _eth_call(address, _NONCES + evm.word(b""))]
            )
        except CallRevertedError:
            return False
        return _text(domain) == evm.as_hex(expected)

    async def nonce_used(self, entry: Entry) -> Block | None:
        """The latest block, once the payment's nonce can never settle any more: used, or cancelled by the payer."""
        contract, payer, nonce = entry.key[8:28], entry.key[28:48], int.from_bytes(entry.key[48:], "big")
        if contract == self._permit2:
            data, place = _NONCE_BITMAP + evm.word(payer) + evm.word(nonce >> 8), nonce & 0xFF
        else:
            data, place = _AUTHORIZATION_STATE + evm.word(payer) + evm.word(nonce), 0
        bits, latest = await self._ask([_eth_call(contract, data), _LATEST])
        return _block(latest) if _number(bits) >> place & 1 else None

    async def transfer(self, entry: Entry, transaction: str) -> Transfer | None:
        """The payment in ``transaction``; None while it is not mined, or when it is not in there.

        The call must be made of what was signed, so that no other payment of the same payer can stand for it.
        """
        shown = await self._shown(transaction)
        if shown is None or not (amounts := self._amounts(entry, *shown)):
            return None
        return Transfer(transaction.lower(), amounts[0])

    async def is_unmined(self, transaction: str) -> bool:
        """Whether a transaction is in no block yet; False for what is no transaction's hash."""
        try:
            name = evm.as_hex(evm.bytes32(transaction))
        except ValueError:
            return False
        return (await self._ask([("eth_getTransactionReceipt", [name])]))[0] is None

    async def _shown(self, transaction: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Receipt and call of a transaction; None while it is not mined."""
        try:
            name = evm.as_hex(evm.bytes32(transaction))
        except ValueError:
            return None
        receipt, sent = await self._ask([("eth_getTransactionReceipt", [name]), ("eth_getTransactionByHash", [name])])
        return (receipt, sent) if isinstance(receipt, dict) and isinstance(sent, dict) else None

    def _amounts(self, entry: Entry, receipt: dict[str, Any], sent: dict[str, Any]) -> list[int]:
        """What ``entry``'s payer paid its payee in a transaction that hands on what it signed; what was asked first."""
        if receipt.get("status") != "0x1" or not self._is_made_of(sent, entry):
            return []
        token, payer, payee = _parties(entry)
        amounts = [
            _number(event.get("data"))
            for event in _events(receipt.get("logs"))
            if str(event.get("address")).lower() == token and _topics(event) == [_TRANSFER, payer, payee]
        ]
        return sorted(amounts, key=lambda amount: amount != entry.amount)

    def _is_made_of(self, sent: dict[str, Any], entry: Entry) -> bool:
        """Whether a transaction hands on what ``entry``'s payer signed, whole and, in a direct call, in its place.

        Payers choose their nonces, and contract accounts the bytes of their signatures: either may be made to occur in
        another payment's call.
        """
        data = str(sent.get("input") or sent.get("data") or "").lower()
        message = self._signed_words(entry).hex()
        called = str(sent.get("to")).lower()
        if called in self._proxies or called == _parties(entry)[0]:
            return any(data.startswith(message, place) for place in _MESSAGE_PLACES)
        return message in data

    def _signed_words(self, entry: Entry) -> bytes:
        """The fields of the signed message that a settling call has side by side: facts/x402.md 1.3, 3.2."""
        contract, nonce = entry.key[8:28], entry.key[48:]
        if contract == self._permit2:
            return evm.words((evm.address(entry.asset.partition("/")[2]), entry.cap, nonce, entry.deadline))
        valid_after = int(entry.payment["payload"]["authorization"]["validAfter"])
        payee = evm.address(entry.requirements["payTo"])
        return evm.words((entry.payer, payee, entry.cap, valid_after, entry.deadline, nonce))

    async def find(self, entry: Entry, used: Block) -> Transfer | None:
        """The payment among the transfers of its payer to its payee in the time that it was good for.

        ``used`` is the block whose state had its nonce used: behind one name there may be several nodes, and of one
        that has not come so far it cannot be said that the transfer is not there. Raises ChainUnavailableError then.

        It has to be of the amount that was asked: payers can repeat what they signed in a call of their own that pays
        less, and cancel the nonce. They can repeat several there, too: ``matches`` is for how many it can stand.
        """
        token, payer, payee = _parties(entry)
        criteria = {"address": token, "topics": [_TRANSFER, payer, payee], **self._good_for(entry, used)}
        latest, logs = await self._ask([("eth_blockNumber", []), ("eth_getLogs", [criteria])])
        if _number(latest) < used.number:
            raise ChainUnavailableError("eth_getLogs: the endpoint is behind what it told before")
        for event in reversed(_events(logs)):
            transaction = str(event.get("transactionHash"))
            if (shown := await self._shown(transaction)) is None:
                raise ChainUnavailableError("a transaction of the logs is not shown")
            amounts = self._amounts(entry, *shown)
            if amounts and amounts[0] == entry.amount:
                return Transfer(transaction.lower(), amounts[0], amounts.count(amounts[0]))
        return None

    def _good_for(self, entry: Entry, latest: Block) -> dict[str, str]:
        """The blocks between the earliest moment that ``entry`` can have been signed at and its deadline, and some."""
        seconds = self._definitions.networks[entry.asset.partition("/")[0]].block_seconds
        until = latest.number - (latest.time - entry.deadline) // seconds
        since = until - self._definitions.deadlines.furthest_seconds // seconds - _SLACK_BLOCKS
        until += _SLACK_BLOCKS
        return {
            "fromBlock": hex(max(0, since)),
            "toBlock": "latest" if until >= latest.number else hex(max(0, until)),
        }

    async def _ask(self, calls: Sequence[Call]) -> list[Any]:
        """The results of a batch, in order."""
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
            for number, (method, parameters) in enumerate(calls)
        ]
        try:
            async with self._session.post(
                self._url,
                data=msgspec.json.encode(requests),
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
                allow_redirects=False,
            ) as response:
                answers = msgspec.json.decode(await _read(response))
            if any(_reverted(answer) for answer in answers):
                raise CallRevertedError(f"{calls[0][0]}: reverted")
            results = {answer["id"]: answer["result"] for answer in answers}
            return [results[number] for number in range(len(calls))]
        except (TimeoutError, aiohttp.ClientError, *_NO_ANSWER) as error:
            raise ChainUnavailableError(f"{calls[0][0]}: {type(error).__name__}") from None


def _reverted(answer: Any) -> bool:
    """In the words of geth and those who follow it; most give a code of their own besides."""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = str(error.get("message")).lower() if isinstance(error, dict) else ""
    return "revert" in message or "invalid opcode" in message


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        body += piece
        if len(body) > _MOST_BYTES:
            raise ChainUnavailableError("an answer is too long")
    return bytes(body)


def _eth_call(contract: bytes, data: bytes) -> Call:
    return "eth_call", [{"to": evm.as_hex(contract), "data": evm.as_hex(data)}, "latest"]


def _block(value: Any) -> Block:
    if not isinstance(value, dict):
        raise ChainUnavailableError("eth_getBlockByNumber: no block")
    return Block(_number(value.get("number")), _number(value.get("timestamp")))


def _parties(entry: Entry) -> tuple[str, str, str]:
    """Token as an address, payer and payee as topics, all in lower case."""
    token = entry.asset.partition("/")[2].lower()
    payee = evm.address(entry.requirements["payTo"])
    return token, evm.as_hex(evm.word(entry.payer)), evm.as_hex(evm.word(payee))


def _events(value: Any) -> list[dict[str, Any]]:
    return [event for event in value if isinstance(event, dict)] if isinstance(value, list) else []


def _topics(event: dict[str, Any]) -> list[str]:
    topics = event.get("topics")
    return [str(topic).lower() for topic in topics] if isinstance(topics, list) else []


def _number(value: Any) -> int:
    try:
        return evm.uint256(_text(value), hexadecimal=True)
    except ValueError:
        raise ChainUnavailableError("an answer is no number of 256 bits") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ChainUnavailableError("an answer is not hexadecimal")
    return value if len(value) > 2 else "0x0"
