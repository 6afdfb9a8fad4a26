"""The constants of payment in ``definitions.toml``, part of the measured image, validated on load."""

import tomllib
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Literal

import msgspec

from gateway.billing.evm import values as evm

Scheme = Literal["upto", "exact"]
TransferMethod = Literal["eip3009", "permit2"]


class DefinitionsError(Exception):
    """The definitions are invalid or inconsistent."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Contracts(_Record, frozen=True):
    """Addresses that are the same on every network."""

    permit2: str
    exact_proxy: str
    upto_proxy: str


class Network(_Record, frozen=True):
    """An EVM chain, by its CAIP-2 id; ``v1_name`` in version 1 of x402."""

    id: str
    name: str
    v1_name: str
    chain_id: int
    block_seconds: int


class Feed(_Record, frozen=True):
    """A token's price source and the limits of accepted readings.

    ``platform`` is CoinGecko's name of the chain. ``largest_step`` is the factor by which one reading may differ
    from the last.
    """

    platform: str
    lowest_usd: Decimal
    highest_usd: Decimal
    largest_step: Decimal


class Token(_Record, frozen=True):
    """An accepted asset. ``name`` and ``version`` are its EIP-712 domain's; its price is either ``usd`` or a feed's."""

    id: str
    symbol: str
    network: str
    address: str
    decimals: int
    name: str
    version: str
    methods: tuple[TransferMethod, ...]
    eip2612: bool
    usd: Decimal | None = None
    feed: Feed | None = None


class Offer(_Record, frozen=True):
    """One way to pay."""

    scheme: Scheme
    token: str
    method: TransferMethod


class Wire(_Record, frozen=True):
    """Limits of the x402 headers; sizes in bytes of the encoded header."""

    payment_header_bytes: int
    required_header_bytes: int
    json_depth: int


class Quotes(_Record, frozen=True):
    seconds: int
    max_timeout_seconds: int


class Deadlines(_Record, frozen=True):
    settle_margin_seconds: int
    least_answer_seconds: int
    furthest_seconds: int


class Exposure(_Record, frozen=True):
    newcomer_usd: Decimal
    growth: Decimal
    ceiling_usd: Decimal
    abandoned_usd: Decimal
    abandoned_share: Decimal
    abandoned_seconds: int


class FacilitatorTimes(_Record, frozen=True):
    verify_seconds: float
    settle_seconds: float
    job_seconds: float
    poll_seconds: float
    supported_refresh_seconds: float
    supported_stale_seconds: float


class SettlementTimes(_Record, frozen=True):
    hold_seconds: float
    retry_seconds: float
    give_up_before_deadline_seconds: int
    retain_seconds: int
    sweep_seconds: float


class PriceTimes(_Record, frozen=True):
    refresh_seconds: float
    stale_seconds: float
    source_stale_seconds: float
    confirmations: int


class Definitions(_Record, frozen=True):
    """Everything in the file; ``networks`` and ``tokens`` by their ids, ``offers`` in the order of preference."""

    contracts: Contracts
    networks: dict[str, Network]
    tokens: dict[str, Token]
    offers: tuple[Offer, ...]
    wire: Wire
    quotes: Quotes
    deadlines: Deadlines
    exposure: Exposure
    facilitator: FacilitatorTimes
    settlement: SettlementTimes
    prices: PriceTimes

    def network(self, token: Token) -> Network:
        return self.networks[token.network]


def load(text: str) -> Definitions:
    """The definitions in a TOML text; raises DefinitionsError."""
    try:
        file = tomllib.loads(text)
        for table in ("networks", "tokens"):
            file[table] = {name: {"id": name, **fields} for name, fields in file[table].items()}
        definitions = msgspec.convert(file, Definitions)
    except (ValueError, msgspec.ValidationError) as error:
        raise DefinitionsError(str(error)) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise DefinitionsError(f"networks and tokens must be tables of tables: {error!r}") from None
    for problem in _problems(definitions):
        raise DefinitionsError(problem)
    return definitions


@cache
def bundled() -> Definitions:
    """The definitions that ship with the gateway, read once."""
    return load(resources.files("gateway.billing").joinpath("definitions.toml").read_text(encoding="utf-8"))


def _problems(definitions: Definitions) -> list[str]:
    problems = _contract_problems(definitions.contracts) + _number_problems(definitions)
    for network in definitions.networks.values():
        if network.id != f"eip155:{network.chain_id}":
            problems.append(f"networks.{network.id}: chain_id {network.chain_id} is another network's")
    for token in definitions.tokens.values():
        problems += [f"tokens.{token.id}: {problem}" for problem in _token_problems(token, definitions)]
    for position, offer in enumerate(definitions.offers):
        problems += [f"offers[{position}]: {problem}" for problem in _offer_problems(offer, definitions)]
    if not definitions.offers:
        problems.append("offers: must not be empty")
    if len(set(definitions.offers)) != len(definitions.offers):
        problems.append("offers: must not contain duplicates")
    return problems


def _contract_problems(contracts: Contracts) -> list[str]:
    return [
        f"contracts.{name}: {problem}"
        for name, address in msgspec.structs.asdict(contracts).items()
        if (problem := _address_problem(address)) is not None
    ]


def _address_problem(address: str) -> str | None:
    if not evm.ADDRESS.fullmatch(address):
        return f"{address!r} is not an address"
    return None if evm.has_valid_checksum(address) else f"{address!r} has a wrong EIP-55 checksum"


def _token_problems(token: Token, definitions: Definitions) -> list[str]:
    twins = [
        other.id
        for other in definitions.tokens.values()
        if other.id != token.id and other.network == token.network and other.address.lower() == token.address.lower()
    ]
    checks = {
        f"unknown network {token.network!r}": token.network in definitions.networks,
        f"{token.decimals} decimals": 0 <= token.decimals <= 36,
        "name and version must not be empty": bool(token.name and token.version and token.symbol),
        "methods must not be empty": bool(token.methods),
        f"same network and address as {twins}": not twins,
        "one of usd and feed must be given": (token.usd is None) != (token.feed is None),
        "usd must be positive": token.usd is None or _above_zero(token.usd),
        "the feed's band must be 0 < lowest_usd < highest_usd and its step above 1": _is_band(token.feed),
    }
    address_problem = _address_problem(token.address)
    found = [] if address_problem is None else [address_problem]
    return found + [problem for problem, passed in checks.items() if not passed]


def _is_band(feed: Feed | None) -> bool:
    if feed is None:
        return True
    if not all(map(_above_zero, (feed.lowest_usd, feed.highest_usd, feed.largest_step))):
        return False
    return feed.lowest_usd < feed.highest_usd and feed.largest_step > 1


def _offer_problems(offer: Offer, definitions: Definitions) -> list[str]:
    token = definitions.tokens.get(offer.token)
    if token is None:
        return [f"unknown token {offer.token!r}"]
    problems = []
    if offer.method not in token.methods:
        problems.append(f"{token.id} cannot be paid by {offer.method}")
    if offer.scheme == "upto" and offer.method != "permit2":
        problems.append("upto needs permit2")
    return problems


def _number_problems(definitions: Definitions) -> list[str]:
    """Limits must be above zero and consistent with one another."""
    sections: dict[str, Any] = {
        name: msgspec.structs.asdict(getattr(definitions, name))
        for name in ("wire", "quotes", "deadlines", "exposure", "facilitator", "settlement", "prices")
    }
    problems = [
        f"{section}.{name}: must be a number above zero"
        for section, values in sections.items()
        for name, value in values.items()
        if not _above_zero(value)
    ]
    if problems:
        return problems
    deadlines, quotes = definitions.deadlines, definitions.quotes
    if quotes.max_timeout_seconds < deadlines.settle_margin_seconds + deadlines.least_answer_seconds:
        problems.append("quotes.max_timeout_seconds: must not be below settle_margin_seconds + least_answer_seconds")
    if deadlines.furthest_seconds < quotes.max_timeout_seconds:
        problems.append("deadlines.furthest_seconds: must not be below quotes.max_timeout_seconds")
    if definitions.exposure.ceiling_usd < definitions.exposure.newcomer_usd:
        problems.append("exposure.ceiling_usd: must not be below newcomer_usd")
    return problems


def _above_zero(value: float | Decimal) -> bool:
    return Decimal(value).is_finite() and value > 0
