"""Fetches the files behind a caller's URLs, for vendors that take files as bytes only.

Guards against server-side request forgery: only https, only public addresses, and the connection goes to the very
addresses that were checked, so that a second DNS answer (rebinding) cannot redirect it. Every failure is a 400, except
that a full buffer is a 503: a short request may bring files a hundred thousand times its size.
"""

import asyncio
import ssl
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from gateway.http_client.connector import Connector
from gateway.openai_api.errors import GatewayError, gateway_unavailable, invalid_request
from gateway.upstreams import media_types
from gateway.upstreams.adapter import Attachment, Chat
from gateway.upstreams.public_addresses import CheckedResolver, ForbiddenAddressError, is_public

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "image/*, application/pdf, audio/*, video/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """``timeout`` in seconds for one file with all its redirects; ``chat_bytes`` and ``files`` for one chat;
    ``buffered_bytes`` for all chats together. A file that a chat repeats counts its bytes as often."""

    timeout: float = 20.0
    file_bytes: int = 20 * 1024 * 1024
    chat_bytes: int = 50 * 1024 * 1024
    buffered_bytes: int = 256 * 1024 * 1024
    files: int = 16
    redirects: int = 3


class _ByteBudget:
    """The bytes that the files of one chat may have together."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.used = 0

    def reserve(self, size: int) -> bool:
        """Use ``size`` more bytes; False when they exceed the budget."""
        if self.used + size > self._size:
            return False
        self.used += size
        return True


class _Place(NamedTuple):
    """Where a URL is in what the caller sent: the JSON path of its first occurrence, and their number.

    The request to the vendor has the file's bytes at each.
    """

    param: str
    occurrences: int = 1


class FileFetcher:
    """Fetches the files of a chat; with ``enabled`` false it refuses them all and suggests a data: URI.

    ``allowed`` is the address policy, ``resolver`` looks hosts up and ``tls`` verifies them; tests inject their own.
    """

    def __init__(
        self,
        enabled: bool,
        *,
        limits: FetchLimits | None = None,
        allowed: Callable[[str], bool] = is_public,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._enabled = enabled
        self._limits = limits or FetchLimits()
        self._allowed = allowed
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._free_bytes = self._limits.buffered_bytes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def attach(self, chat: Chat, urls: Iterable[str]) -> int:
        """Fetch ``urls`` concurrently into the chat's attachments and return their total size.

        Pass that size to ``release`` when the files are no longer needed. Raises 400 naming the URL that failed, and
        503 when the buffer is full.
        """
        wanted = _places_of(chat, list(islice(urls, self._limits.files + 1)))
        if not wanted:
            return 0
        if not self._enabled:
            param = next(iter(wanted.values())).param
            raise _refusal(param, "file URLs are not supported with this model; send the file as a data: URI")
        if len(wanted) > self._limits.files:
            raise _refusal(
                [*wanted.values()][self._limits.files].param,
                f"at most {self._limits.files} files per request can be fetched from URLs",
            )
        budget = _ByteBudget(self._limits.chat_bytes)
        fetches = [asyncio.create_task(self._fetch(url, place, budget)) for url, place in wanted.items()]
        try:
            files = await asyncio.gather(*fetches)
        except BaseException:
            for fetch in fetches:
                fetch.cancel()
            self.release(budget.used)
            raise
        chat.attachments.update(zip(wanted, files, strict=True))
        return budget.used

    def release(self, size: int) -> None:
        """Return ``size`` bytes of the buffer."""
        self._free_bytes += size

    async def _fetch(self, url: str, place: "_Place", budget: _ByteBudget) -> Attachment:
        param = place.param
        try:
            async with asyncio.timeout(self._limits.timeout):
                data = await self._download(url, place, budget)
        except TimeoutError:
            raise _refusal(param, "fetching the file timed out") from None
        except ForbiddenAddressError:
            raise _refusal(param, "its host does not have a public address") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _refusal(param, "the file could not be fetched") from None
        media_type = media_types.sniff(data)
        if media_type is None:
            raise _refusal(param, "the file is not a supported image, PDF, audio or video")
        return Attachment(media_type, data)

    async def _download(self, url: str, place: "_Place", budget: _ByteBudget) -> bytes:
        """The bytes behind ``url``; every redirect is checked like the URL itself."""
        target = URL(url)
        for _ in range(self._limits.redirects + 1):
            self._check_target(target, place.param)
            async with self._client().get(target, headers=_HEADERS, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response, place, budget)
                target = target.join(URL(response.headers.get("Location", "")))
        raise _refusal(place.param, "there are too many redirects")

    def _check_target(self, target: URL, param: str) -> None:
        if target.scheme != "https" or not target.host:
            raise _refusal(param, "only https: and data: URLs are accepted")
        if target.user is not None or target.password is not None:
            raise _refusal(param, "the URL must not contain credentials")
        if _is_ip_literal(target.host) and not self._allowed(target.host):
            raise ForbiddenAddressError(target.host)

    async def _read(self, response: aiohttp.ClientResponse, place: "_Place", budget: _ByteBudget) -> bytes:
        if response.status != 200:
            raise _refusal(place.param, f"its server returned status {response.status}")
        limit = self._limits.file_bytes
        too_large = _refusal(place.param, f"the file is larger than {limit} bytes")
        if (response.content_length or 0) > limit:
            raise too_large
        data = bytearray()
        async for chunk in response.content.iter_any():
            self._reserve(len(chunk) * place.occurrences, place.param, budget)
            data += chunk
            if len(data) > limit:
                raise too_large
        return bytes(data)

    def _reserve(self, size: int, param: str, budget: _ByteBudget) -> None:
        """Take ``size`` bytes of the buffer. Raises 503 when it is full, and 400 when the chat's budget is used up."""
        if not budget.reserve(size):
            raise _refusal(param, "the files of the request exceed their total size limit")
        if size > self._free_bytes:
            budget.used -= size
            raise gateway_unavailable("overloaded", "The gateway is processing too many files")
        self._free_bytes -= size

    def _client(self) -> aiohttp.ClientSession:
        """The session, created on first use: no cookies, proxies, credentials, decompression or keep-alive."""
        if self._session is None:
            connector = Connector(
                resolver=CheckedResolver(self._allowed, self._resolver),
                use_dns_cache=False,
                force_close=True,
                ssl=self._tls if self._tls is not None else True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=self._limits.timeout),
            )
        return self._session


def _is_ip_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _refusal(param: str, reason: str) -> GatewayError:
    code = "invalid_image_url" if param.endswith("image_url.url") else "invalid_file_url"
    return invalid_request(f"Invalid '{param}': {reason}.", param, code)


def _places_of(chat: Chat, urls: Collection[str]) -> dict[str, _Place]:
    """The place of each of ``urls`` in what the caller sent, found in one walk through all of it."""
    places: dict[str, _Place] = {}
    pending: list[tuple[Any, tuple[Any, ...]]] = [(chat.body["messages"], ())]
    wanted = frozenset(urls)
    while pending:
        outer, place = pending.pop()
        inner = []
        for key, value in outer.items() if isinstance(outer, dict) else enumerate(outer):
            if isinstance(value, str):
                if value in wanted:
                    first, count = places.get(value, (None, 0))
                    places[value] = _Place(first or _json_path((place, key)), count + 1)
            elif value and isinstance(value, dict | list):
                inner.append((value, (place, key)))
        pending += reversed(inner)
    return {url: places.get(url, _Place("messages")) for url in urls}


def _json_path(place: tuple[Any, ...]) -> str:
    """The path of ``(outer place, key)``, the place of the messages being empty."""
    if not place:
        return "messages"
    outer, key = place
    return _json_path(outer) + (f".{key}" if isinstance(key, str) else f"[{key}]")
