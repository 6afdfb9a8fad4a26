"""Responses of facilitator, chain and price source: they yield a result or the documented error.

Any other exception would end a settlement's task, and with it the reconciliation of money that may have moved.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

import msgspec

from gateway.billing.definitions import Definitions, bundled
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import Block, Chain, Funds, Transfer
from gateway.billing.evm.rpc import ChainUnavailableError
from gateway.billing.facilitator import Facilitator, FacilitatorUnavailableError
from gateway.billing.journal import Entry
from gateway.billing.outcome import Refused, Settled, Unknown
from gateway.billing.price_feed import PriceFeed, PriceUnavailableError
from gateway.billing.x402 import ForwardedPayment
from tools.fuzz.stub_peers import Reply, pool, reply, session
from tools.fuzz.target import BrokenPropertyError, Target

_NETWORK = "eip155:8453"
_HASH = "0x" + "44" * 32
_PAYER, _PAYEE = "0x" + "aa" * 20, "0x" + "bb" * 20
_PAYMENT = ForwardedPayment(
    x402_version=2,
    payload=msgspec.Raw(b'{"authorization":{"validAfter":"0"}}'),
    accepted=msgspec.Raw(msgspec.json.encode({"network": _NETWORK, "payTo": _PAYEE})),
)
_SETTLED = {"success": True, "transaction": _HASH, "network": _NETWORK, "payer": _PAYER, "amount": "7"}
_ODD_AMOUNTS = ("9" * 5000, "\u0663", "-7", "0x7", "1e3", "", "07")


def _definitions() -> Definitions:
    """The gateway's definitions, without delays between requests."""
    definitions = bundled()
    times = msgspec.structs.replace(definitions.facilitator, poll_seconds=0.0, job_seconds=0.001)
    return msgspec.structs.replace(definitions, facilitator=times)


# -------------------------------------------------------------------------------------------------------- facilitator


@dataclass(frozen=True)
class PeerCase:
    """A request to a peer, and its replies."""

    question: str
    replies: list[Reply]


def _make_facilitator(random: Random) -> PeerCase:
    question = random.choice(("supported", "verify", "settle", "settle", "poll_job"))
    return PeerCase(question, [_facilitator_reply(random, question) for _ in range(2)])


def _facilitator_reply(random: Random, question: str) -> Reply:
    amount = random.choice(_ODD_AMOUNTS) if random.random() < 0.3 else "7"
    settled = {**_SETTLED, "amount": amount}
    job = {"jobId": "payment-1", "status": random.choice(("queued", "succeeded", "failed")), "result": settled}
    supported = {
        "kinds": [
            {"x402Version": 2, "scheme": "upto", "network": _NETWORK, "extra": {"facilitatorAddress": _PAYEE}},
            {"x402Version": 2, "scheme": "exact", "network": _NETWORK},
        ],
        "extensions": ["eip2612GasSponsoring"],
        "signers": {"eip155:*": [_PAYEE]},
    }
    answers: dict[str, tuple[Any, ...]] = {
        "supported": (supported,),
        "verify": ({"isValid": True, "payer": _PAYER}, {"isValid": False, "invalidReason": "r"}),
        "settle": (settled, settled, {"success": False, "errorReason": "r"}, {"paymentJob": job}),
        "poll_job": (job, {"paymentJob": job}),
    }
    return reply(random, random.choice(answers[question]), (200, 200, 200, 202, 400, 404, 500))


def _check_facilitator(asked: PeerCase) -> None:
    facilitator = Facilitator(pool(*asked.replies), _definitions())
    questions: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "supported": facilitator.supported,
        "verify": lambda: facilitator.verify(_PAYMENT),
        "settle": lambda: facilitator.settle(_PAYMENT, 7, {}),
        "poll_job": lambda: facilitator.poll_job("payment-1", _NETWORK),
    }
    try:
        answer = asyncio.run(questions[asked.question]())
    except FacilitatorUnavailableError:
        if asked.question in ("settle", "poll_job"):
            raise
        return
    if asked.question in ("settle", "poll_job"):
        if not isinstance(answer, Settled | Refused | Unknown):
            raise BrokenPropertyError(f"{answer} is not an outcome")
        if isinstance(answer, Settled) and answer.amount is not None and not 0 <= answer.amount < 2**256:
            raise BrokenPropertyError(f"{answer.amount} was settled")


# -------------------------------------------------------------------------------------------------------------- chain


_QUESTIONS = (
    *("serves", "time", "has_code", "funds", "supports_permits"),
    *("nonce_used", "block_of", "transfer", "find_transfer"),
)
_LATEST = {"number": "0x1e8480", "timestamp": "0x6a1b2c3d"}
_ODD_WORDS = ("0x", "0x0", "0x1", "1", "0xzz", "0x_1", "0x" + "f" * 64, "0x1" + "0" * 64, _HASH, "latest", -1)


def _entry(contract: str) -> Entry:
    token = bundled().tokens["usdc"]
    return Entry(
        key=bytes(8) + bytes.fromhex(contract[2:]) + bytes.fromhex(_PAYER[2:]) + b"\x33" * 32,
        owner="w",
        payer=bytes.fromhex(_PAYER[2:]),
        asset=f"{_NETWORK}/{token.address.lower()}",
        scheme="exact",
        cap=10,
        cap_usd=Decimal(1),
        rate=Decimal(1),
        deadline=9,
        payment=_PAYMENT,
        updated=0.0,
    )


def _make_chain(random: Random) -> PeerCase:
    question = random.choice(_QUESTIONS)
    if question == "find_transfer":
        found = [{"transactionHash": _HASH}]
        replies = [_rpc(random, "0x1e8480", found), _rpc(random, *_transaction(random))]
        return PeerCase(question, replies)
    if question == "nonce_used":
        return PeerCase(question, [_rpc(random, _LATEST), _rpc(random, "0x" + "0" * 63 + "1")])
    results = {
        "serves": ("0x2105",),
        "time": (_LATEST,),
        "block_of": ({"blockNumber": "0x1e8480"},),
        "transfer": _transaction(random),
        "funds": ("0x" + "0" * 63 + "a", "0x" + "f" * 64),
        "supports_permits": (_HASH, "0x0"),
    }
    return PeerCase(question, [_rpc(random, *results.get(question, ("0x" + "0" * 63 + "1",)))])


def _transaction(random: Random) -> tuple[Any, Any]:
    """Receipt and transaction of a transfer."""
    topics = ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"]
    topics += ["0x" + "00" * 12 + party[2:] for party in (_PAYER, _PAYEE)]
    event = {"address": bundled().tokens["usdc"].address, "topics": topics, "data": _word(random, "0xa")}
    signed = evm.words((bytes.fromhex(_PAYER[2:]), bytes.fromhex(_PAYEE[2:]), 10, 0, 9, b"\x33" * 32))
    return {"status": "0x1", "logs": [event]}, {"input": f"0xe3ee160e{signed.hex()}"}


def _word(random: Random, word: Any) -> Any:
    return random.choice(_ODD_WORDS) if random.random() < 0.2 else word


def _rpc(random: Random, *results: Any) -> Reply:
    answers = [
        {"jsonrpc": "2.0", "id": number, "result": _word(random, result)} for number, result in enumerate(results)
    ]
    return reply(random, answers, (200,))


def _check_chain(asked: PeerCase) -> None:
    definitions = _definitions()
    token, entry = definitions.tokens["usdc"], _entry(definitions.tokens["usdc"].address)
    chain = Chain(session(*asked.replies), "https://rpc.example", definitions)
    questions: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "serves": lambda: chain.serves(definitions.network(token)),
        "time": chain.time,
        "has_code": lambda: chain.has_code(entry.payer),
        "funds": lambda: chain.funds(token, entry.payer),
        "supports_permits": lambda: chain.supports_permits(token),
        "nonce_used": lambda: chain.nonce_used(entry),
        "block_of": lambda: chain.block_of(_HASH),
        "transfer": lambda: chain.transfer(entry, _HASH),
        "find_transfer": lambda: chain.find_transfer(entry, Block(2_000_000, 9)),
    }
    try:
        answer = asyncio.run(questions[asked.question]())
    except ChainUnavailableError:
        return
    figures = {Funds: ("balance", "allowance"), Transfer: ("amount",), Block: ("number", "time")}.get(type(answer), ())
    if any(not 0 <= getattr(answer, figure) < 2**256 for figure in figures):
        raise BrokenPropertyError(f"{answer} is out of range")


# -------------------------------------------------------------------------------------------------------------- price


_NOW = 1_795_000_000.0
_TIMES = (
    "7",
    "0",
    "-1",
    "soon",
    "Wed, 18 Nov 2026 12:26:50 GMT",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "\u00b2",
    "9" * 400,
)


def _make_price(random: Random) -> PeerCase:
    feed = bundled().tokens["opg"]
    usd = random.choice((0.0931, 1e-9, 10**400, 0, "0.1")) if random.random() < 0.3 else 0.0931
    answer = reply(random, {feed.address.lower(): {"usd": usd, "last_updated_at": _NOW - 9}}, (200, 200, 429, 500))
    if random.random() < 0.1:
        answer = Reply(200, [f'{{"{feed.address.lower()}":{{"usd":{random.choice(_FIGURES)}}}}}'.encode()])
    asked_to_wait = {"Retry-After": random.choice(_TIMES)} if random.random() < 0.8 else {}
    return PeerCase("price", [Reply(answer.status, answer.pieces, asked_to_wait)])


_FIGURES = ("1e999999999999999999999", "0.1" + "0" * 5000, "-0", "NaN", "1" * 400, "0.0931e0", "00.1", "{}", "[0.1]")


def _check_price(asked: PeerCase) -> None:
    feed = PriceFeed(session(*asked.replies), bundled(), clock=lambda: _NOW)
    token = bundled().tokens["opg"]
    assert token.feed is not None  # noqa: S101 (the file has one)
    try:
        reading = asyncio.run(feed.read(token, token.feed))
    except PriceUnavailableError as error:
        if error.retry_after is not None and not error.retry_after >= 0:
            raise BrokenPropertyError(f"to be asked again in {error.retry_after} s") from error
        return
    if not reading.usd.is_finite() or reading.usd <= 0:
        raise BrokenPropertyError(f"{reading.usd} is not a price")


FACILITATOR_ANSWERS = Target("facilitator-answers", _make_facilitator, _check_facilitator)
CHAIN_ANSWERS = Target("chain-answers", _make_chain, _check_chain)
PRICE_ANSWERS = Target("price-answers", _make_price, _check_price)
