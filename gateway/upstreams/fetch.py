"""Fetches the files behind a caller's URLs, for vendors that take files as bytes only.

Guards against server-side request forgery: only https, only public addresses, and the connection goes to the very
addresses that were checked, so that a second DNS answer (rebinding) cannot redirect it. Every failure is a 400, except
that a full buffer is a 503: a short request may bring files a hundred thousand times its size.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from gateway.http_client.connector import Connector
from gateway.openai_api.errors import GatewayError, gateway_unavailable, invalid_request
from gateway.upstreams import media_types
from gateway.upstreams.adapter import Attachment, Chat
from gateway.upstreams.public_addresses import CheckedResolver, ForbiddenAddressError, is_public
from gateway.upstreams.url_places import Place, places_of

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "image/*, application/pdf, audio/*, video/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """Limits on the files of one chat, except ``buffered_bytes``, which all chats share.

    ``timeout`` is in seconds for one file with all its redirects. The bytes of a file count as often as the chat
    repeats it.
    """

    timeout: float = 20.0
    file_bytes: int = 20 * 1024 * 1024
    chat_bytes: int = 50 * 1024 * 1024
    buffered_bytes: int = 256 * 1024 * 1024
    files: int = 16
    redirects: int = 3


@dataclass
class _Reservation:
    """The bytes of the buffer that the files of one chat take."""

    size: int = 0


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

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def attach(self, chat: Chat, urls: Iterable[str]) -> int:
        """Fetch ``urls`` concurrently into the chat's attachments and return their total size.

        Pass that size to ``release`` when the files are no longer needed. Raises 400 naming the URL that failed, and
        503 when the buffer is full.
        """
        wanted = places_of(list(islice(urls, self._limits.files + 1)), chat.body["messages"])
        if not wanted:
            return 0
        self._check_number([*wanted.values()])
        reserved = _Reservation()
        fetches = [asyncio.create_task(self._fetch(url, place, reserved)) for url, place in wanted.items()]
        try:
            files = await asyncio.gather(*fetches)
        except BaseException:
            for fetch in fetches:
                fetch.cancel()
            self.release(reserved.size)
            raise
        chat.attachments.update(zip(wanted, files, strict=True))
        return reserved.size

    def release(self, size: int) -> None:
        """Return ``size`` bytes of the buffer."""
        self._free_bytes += size

    def _check_number(self, places: list[Place]) -> None:
        """Raise 400 for more files than are fetched, which are none without ``enabled``."""
        limit = self._limits.files
        if not self._enabled:
            raise _refusal(places[0].param, "file URLs are not supported with this model; send the file as a data: URI")
        if len(places) > limit:
            raise _refusal(places[limit].param, f"at most {limit} files per request can be fetched from URLs")

    async def _fetch(self, url: str, place: Place, reserved: _Reservation) -> Attachment:
        param = place.param
        try:
            async with asyncio.timeout(self._limits.timeout):
                data = await self._download(url, place, reserved)
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

    async def _download(self, url: str, place: Place, reserved: _Reservation) -> bytes:
        """The bytes behind ``url``; every redirect is checked like the URL itself."""
        target = URL(url)
        for _ in range(self._limits.redirects + 1):
            self._check_target(target, place.param)
            async with self._client().get(target, headers=_HEADERS, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response, place, reserved)
                target = target.join(URL(response.headers.get("Location", "")))
        raise _refusal(place.param, "there are too many redirects")

    def _check_target(self, target: URL, param: str) -> None:
        if target.scheme != "https" or not target.host:
            raise _refusal(param, "only https: and data: URLs are accepted")
        if target.user is not None or target.password is not None:
            raise _refusal(param, "the URL must not contain credentials")
        if _is_ip_literal(target.host) and not self._allowed(target.host):
            raise ForbiddenAddressError(target.host)

    async def _read(self, response: aiohttp.ClientResponse, place: Place, reserved: _Reservation) -> bytes:
        if response.status != 200:
            raise _refusal(place.param, f"its server returned status {response.status}")
        limit = self._limits.file_bytes
        too_large = _refusal(place.param, f"the file is larger than {limit} bytes")
        if (response.content_length or 0) > limit:
            raise too_large
        data = bytearray()
        async for chunk in response.content.iter_any():
            self._reserve(len(chunk) * place.occurrences, place.param, reserved)
            data += chunk
            if len(data) > limit:
                raise too_large
        return bytes(data)

    def _reserve(self, size: int, param: str, reserved: _Reservation) -> None:
        """Take ``size`` more bytes of the buffer. Raises 503 when it is full, and 400 when the chat has too many."""
        if reserved.size + size > self._limits.chat_bytes:
            raise _refusal(param, "the files of the request exceed their total size limit")
        if size > self._free_bytes:
            raise gateway_unavailable("overloaded", "The gateway is processing too many files")
        self._free_bytes -= size
        reserved.size += size

    def _client(self) -> aiohttp.ClientSession:
        """The session, created on first use: no cookies, proxies, credentials, decompression or keep-alive."""
        if self._session is None:
            connector = Connector(
                resolver=CheckedResolver(self._allowed, self._resolver),
                use_dns_cache=False,
                force_close=True,
                ssl=self._tls or True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
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
