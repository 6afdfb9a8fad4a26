"""Which prices are believed, and what a source may answer (facts/x402.md 5; 4 row 13)."""

import math
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tenacity import AsyncRetrying, RetryCallState

from gateway.billing import price_feed
from gateway.billing.definitions import bundled
from gateway.billing.price_feed import PriceFeed, PriceFilter, PriceReading, PriceUnavailableError

DEFINITIONS = bundled()
OPG, USDC = DEFINITIONS.tokens["opg"], DEFINITIONS.tokens["usdc"]
NOW = 1_795_000_000.0


def believed() -> PriceFilter:
    assert OPG.feed is not None
    return PriceFilter(OPG.feed, DEFINITIONS.prices)


def reading(usd: str, after: float = 0.0, source_age: float | None = None) -> PriceReading:
    return PriceReading(Decimal(usd), NOW + after, None if source_age is None else NOW + after - source_age)


def current(prices: PriceFilter, after: float = 0.0) -> str | None:
    last = prices.current(NOW + after)
    return None if last is None else str(last.usd)


def test_a_price_is_good_until_it_is_stale() -> None:
    prices = believed()
    assert current(prices) is None
    prices.update(reading("0.09"))
    assert current(prices, 1800) == "0.09"
    assert current(prices, 1801) is None


@pytest.mark.parametrize("usd", ["0.0019", "5.01", "0.000000001", "1000000"])
def test_outside_the_band_nothing_is_believed_however_often(usd: str) -> None:
    prices = believed()
    for _ in range(5):
        with pytest.raises(PriceUnavailableError, match="outside"):
            prices.update(reading(usd))
    assert current(prices) is None


@pytest.mark.parametrize("usd", ["0.14", "0.065"])
def test_a_step_is_followed(usd: str) -> None:
    prices = believed()
    prices.update(reading("0.095"))
    prices.update(reading(usd))
    assert current(prices) == usd


@pytest.mark.parametrize("jumped", ["0.4", "0.01"])
def test_a_jump_is_believed_only_when_several_readings_agree(jumped: str) -> None:
    prices = believed()
    prices.update(reading("0.1"))
    for _ in range(2):
        with pytest.raises(PriceUnavailableError, match="too far"):
            prices.update(reading(jumped))
    assert current(prices) == "0.1"
    prices.update(reading(jumped))
    assert current(prices) == jumped


def test_a_jump_that_goes_back_or_wanders_is_never_believed() -> None:
    prices = believed()
    prices.update(reading("0.1"))
    for usd in ("0.4", "0.4", "0.8", "1.6", "3.2"):
        with pytest.raises(PriceUnavailableError):
            prices.update(reading(usd))
    for _ in range(2):
        prices.update(reading("0.1"))
        for usd in ("0.4", "0.4"):
            with pytest.raises(PriceUnavailableError):
                prices.update(reading(usd))
    assert current(prices) == "0.1"


def test_a_price_that_the_source_has_not_renewed_is_not_believed() -> None:
    prices = believed()
    prices.update(reading("0.1", source_age=14_400))
    with pytest.raises(PriceUnavailableError, match="too old"):
        prices.update(reading("0.1", after=1, source_age=14_401))


class Source:
    """A source that a test writes the answers of."""

    def __init__(self) -> None:
        self.text = f'{{"{OPG.address.lower()}":{{"usd":0.0931,"last_updated_at":1794999000}}}}'
        self.statuses: list[int] = []
        self.retry_after = "0"
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        status = self.statuses.pop(0) if self.statuses else 200
        headers = {"Retry-After": self.retry_after} if status == 429 else {}
        return web.Response(text=self.text, status=status, headers=headers, content_type="application/json")


@pytest.fixture
def source() -> Source:
    return Source()


MakeFeed = Callable[..., PriceFeed]


@pytest.fixture
async def make_feed(source: Source) -> AsyncIterator[MakeFeed]:
    app = web.Application()
    app.router.add_get("/simple/token_price/base", source.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = str(server.make_url("/"))
        yield lambda **more: PriceFeed(session, DEFINITIONS, url=url, **{"clock": lambda: NOW, **more})


async def test_coingecko_is_asked_and_read_exactly(source: Source, make_feed: MakeFeed) -> None:
    source.text = f'{{"{OPG.address.lower()}":{{"usd":9.31000000000000000001E-2,"last_updated_at":1794999000}}}}'
    feed = make_feed(api_key="secret")
    await feed.refresh()
    assert feed.usd(OPG) == Decimal("0.0931000000000000000001")
    assert feed.usd(USDC) == 1
    asked = source.requests[0]
    assert dict(asked.query) == {
        "contract_addresses": OPG.address.lower(),
        "vs_currencies": "usd",
        "include_last_updated_at": "true",
        "precision": "full",
    }
    assert asked.headers["x-cg-demo-api-key"] == "secret"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "",
        "[" * 5000,
        '{"a":' * 5000,
        f'{{"{OPG.address.lower()}":{{}}}}',
        f'{{"{OPG.address.lower()}":{{"usd":null}}}}',
        f'{{"{OPG.address.lower()}":{{"usd":"0.1"}}}}',
        f'{{"{OPG.address.lower()}":{{"usd":0}}}}',
        f'{{"{OPG.address.lower()}":{{"usd":-1}}}}',
        f'{{"{OPG.address.lower()}":{{"usd":{{}}}}}}',
        f'{{"{USDC.address.lower()}":{{"usd":1}}}}',
    ],
)
async def test_an_answer_without_a_price_is_no_price(source: Source, make_feed: MakeFeed, text: str) -> None:
    source.text = text
    feed = make_feed()
    await feed.refresh()
    assert feed.usd(OPG) is None


async def test_throttling_is_waited_out(source: Source, make_feed: MakeFeed) -> None:
    source.statuses = [429, 429]
    feed = make_feed()
    await feed.refresh()
    assert feed.usd(OPG) == Decimal("0.0931")
    assert len(source.requests) == 3


@pytest.mark.parametrize(
    ("attempt", "asked", "seconds"), [(1, None, 2.0), (2, None, 4.0), (1, 7.0, 7.0), (2, 0.0, 0.0), (1, 900.0, 60.0)]
)
def test_a_source_is_asked_again_when_it_says_so(attempt: int, asked: float | None, seconds: float) -> None:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    state.attempt_number = attempt
    error = PriceUnavailableError("throttled", asked)
    state.set_exception((type(error), error, None))
    assert price_feed._backoff(state) == seconds


@pytest.mark.parametrize(("statuses", "requests"), [([429] * 9, 3), ([403] * 9, 1)])
async def test_a_source_that_keeps_refusing_is_left_alone(
    source: Source, make_feed: MakeFeed, statuses: list[int], requests: int
) -> None:
    source.statuses = statuses
    feed = make_feed()
    await feed.refresh()
    assert feed.usd(OPG) is None
    assert len(source.requests) == requests


async def test_the_last_price_outlives_a_failed_reading(source: Source, make_feed: MakeFeed) -> None:
    now = [NOW]
    feed = make_feed(clock=lambda: now[0])
    assert feed.age(OPG.id) == math.inf
    await feed.refresh()
    assert feed.age(OPG.id) == 0
    source.statuses = [403]
    now[0] = NOW + 60
    await feed.refresh()
    assert feed.usd(OPG) == Decimal("0.0931")
    assert feed.age(OPG.id) == 60
    assert feed.tokens() == [OPG.id]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("soon", None),
        ("-1", None),
        *((f"Wed, 21 Oct 2015 07:28:00 {zone}", 0.0) for zone in ("GMT", "-0000")),
    ],
)
async def test_a_source_says_in_seconds_or_by_a_date_when_to_ask_again(
    source: Source, make_feed: MakeFeed, header: str, seconds: float | None
) -> None:
    source.statuses, source.retry_after = [429], header
    assert OPG.feed is not None
    with pytest.raises(PriceUnavailableError) as refused:
        await make_feed().read(OPG, OPG.feed)
    assert refused.value.retry_after == seconds


async def test_an_endless_answer_is_not_read_to_its_end(source: Source, make_feed: MakeFeed) -> None:
    """A few kilobytes can be decompressed to more than the memory of an enclave."""
    source.text = f'{{"{OPG.address.lower()}":{{"usd":0.1}}{" " * 64 * 1024}}}'
    feed = make_feed()
    assert OPG.feed is not None
    with pytest.raises(PriceUnavailableError, match="the source has no price"):
        await feed.read(OPG, OPG.feed)
