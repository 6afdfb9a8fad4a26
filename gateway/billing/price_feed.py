"""USD prices of tokens that have a market, from CoinGecko (facts/x402.md 5; 4 row 13).

The price of a thinly traded token is easily manipulated. A reading is accepted within the token's band and within one
step of the last one; beyond that only when several consecutive readings agree. Without a fresh accepted reading there
is no price, and the token is not offered; there is no fallback constant.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from gateway.billing.definitions import Definitions, Feed, PriceTimes, Token
from gateway.http_client.body_start import read_start
from gateway.http_client.retry_after import read_retry_after

log = logging.getLogger(__name__)

COINGECKO = "https://api.coingecko.com/api/v3"

_ATTEMPTS = 3
_TIMEOUT = 10.0
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_BACKOFF = 60.0


class PriceUnavailableError(Exception):
    """No reading, or one that is not accepted. ``retry_after`` is the source's Retry-After in seconds, if any."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _RetryableError(PriceUnavailableError):
    """The source is unreachable, throttles or fails: worth a retry."""


@dataclass(frozen=True, slots=True)
class PriceReading:
    """USD per whole token, when it was read and when the source last updated it."""

    usd: Decimal
    read_at: float
    source_time: float | None = None


class PriceFilter:
    """Accepts or rejects the readings of one token."""

    def __init__(self, feed: Feed, times: PriceTimes) -> None:
        self._feed = feed
        self._times = times
        self._last: PriceReading | None = None
        self._outliers: list[Decimal] = []

    def update(self, reading: PriceReading) -> None:
        """Accept ``reading``, or raise PriceUnavailableError and keep the last one."""
        feed = self._feed
        if not feed.lowest_usd <= reading.usd <= feed.highest_usd:
            raise PriceUnavailableError(f"{reading.usd} is outside {feed.lowest_usd}..{feed.highest_usd} USD")
        if reading.source_time is not None and reading.read_at - reading.source_time > self._times.source_stale_seconds:
            raise PriceUnavailableError("the source's price is too old")
        if self._last is not None and not self._near(reading.usd, self._last.usd):
            self._outliers = [usd for usd in self._outliers if self._near(usd, reading.usd)] + [reading.usd]
            if len(self._outliers) < self._times.confirmations:
                raise PriceUnavailableError(
                    f"{reading.usd} is too far from {self._last.usd} USD to be accepted without confirmation"
                )
        self._last, self._outliers = reading, []

    def current(self, now: float) -> PriceReading | None:
        """The last accepted reading, if it is fresh."""
        if self._last is None or now - self._last.read_at > self._times.stale_seconds:
            return None
        return self._last

    @property
    def read_at(self) -> float | None:
        """When the last accepted reading was made, fresh or not."""
        return None if self._last is None else self._last.read_at

    def _near(self, usd: Decimal, other: Decimal) -> bool:
        return max(usd, other) <= min(usd, other) * self._feed.largest_step


class PriceFeed:
    """USD prices of the definitions' tokens; ``refresh`` reads those with a feed. ``clock`` is Unix time."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        definitions: Definitions,
        *,
        url: str = COINGECKO,
        api_key: str | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._clock = clock
        self._feeds: dict[str, tuple[Token, Feed]] = {
            token.id: (token, token.feed) for token in definitions.tokens.values() if token.feed is not None
        }
        self._filters = {name: PriceFilter(feed, definitions.prices) for name, (_, feed) in self._feeds.items()}
        self._headers = {"Accept": "application/json"}
        if api_key:
            professional = "pro-api.coingecko.com" in self._url
            self._headers["x-cg-pro-api-key" if professional else "x-cg-demo-api-key"] = api_key

    def usd(self, token: Token) -> Decimal | None:
        """USD per whole token; None without a fresh accepted reading."""
        if token.usd is not None:
            return token.usd
        reading = self._filters[token.id].current(self._clock())
        return None if reading is None else reading.usd

    def tokens(self) -> list[str]:
        """The ids of the tokens with a feed."""
        return list(self._feeds)

    def age(self, token: str) -> float:
        """Seconds since the last accepted reading; infinite before the first."""
        read_at = self._filters[token].read_at
        return math.inf if read_at is None else self._clock() - read_at

    async def refresh(self) -> None:
        """Read each token once; a failure is logged and keeps the last reading."""
        for token, feed in self._feeds.values():
            try:
                self._filters[token.id].update(await self._read_with_retries(token, feed))
            except PriceUnavailableError as error:
                log.warning("no price", extra={"token": token.id, "reason": str(error)})

    async def _read_with_retries(self, token: Token, feed: Feed) -> PriceReading:
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_RetryableError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_backoff,
            reraise=True,
        )
        return await attempts(self.read, token, feed)

    async def read(self, token: Token, feed: Feed) -> PriceReading:
        """Fetch a token's current price. Raises PriceUnavailableError."""
        parameters = {
            "contract_addresses": token.address.lower(),
            "vs_currencies": "usd",
            "include_last_updated_at": "true",
            "precision": "full",
        }
        try:
            async with self._session.get(
                f"{self._url}/simple/token_price/{feed.platform}",
                params=parameters,
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
                allow_redirects=False,
            ) as response:
                body = await read_start(response, _MAX_ANSWER_BYTES)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _RetryableError(f"the source cannot be reached: {type(error).__name__}") from None
        if response.status == 429 or response.status >= 500:
            raise _RetryableError(f"the source returned status {response.status}", read_retry_after(response.headers))
        if response.status != 200:
            raise PriceUnavailableError(f"the source returned status {response.status}")
        return _parse(body, token.address.lower(), self._clock())


class _Quote(msgspec.Struct):
    """``usd`` is kept as raw digits, to become a Decimal without a float in between."""

    usd: msgspec.Raw
    last_updated_at: float | None = None


def _parse(body: bytes, address: str, now: float) -> PriceReading:
    try:
        quote = msgspec.json.decode(body, type=dict[str, _Quote])[address]
        usd = Decimal(bytes(quote.usd).decode())
    except (ValueError, KeyError, InvalidOperation, RecursionError):
        raise PriceUnavailableError("the source has no price for this token") from None
    if not usd.is_finite() or usd <= 0:
        raise PriceUnavailableError(f"{usd} is not a price")
    return PriceReading(usd, now, quote.last_updated_at)


def _backoff(state: RetryCallState) -> float:
    """The source's Retry-After, else two seconds, then four."""
    error = state.outcome.exception() if state.outcome is not None else None
    retry_after = error.retry_after if isinstance(error, PriceUnavailableError) else None
    return min(_MAX_BACKOFF, 2.0**state.attempt_number if retry_after is None else retry_after)
