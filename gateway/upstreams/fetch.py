"""Fetching the files behind a caller's URLs, for vendors that take bytes only.

The URL is the caller's, the network is ours: only https, only public addresses, and the connection goes to the very
addresses that were checked, so that no second DNS answer can point elsewhere. Every failure is the caller's 400, save a
lack of room: what a short request brings may be a hundred thousand times its size.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from gateway.openai_api.errors import GatewayError, gateway_unavailable, invalid_request
from gateway.upstreams import data_uri, media_types
from gateway.upstreams.adapter import Attachment, Chat
from gateway.upstreams.public_addresses import CheckedResolver, ForbiddenAddressError, is_public

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"Accept": "image/*, application/pdf, audio/*, video/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """``seconds`` for one file with all its redirects; ``total_bytes`` and ``files`` for one chat; ``held_bytes`` for
    all chats at once."""

    seconds: float = 20.0
    file_bytes: int = 20 * 1024 * 1024
    total_bytes: int = 50 * 1024 * 1024
    held_bytes: int = 256 * 1024 * 1024
    files: int = 16
    redirects: int = 3


class _Allowance:
    """The bytes that the files of one chat may still take together, and those that they have taken."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.taken = 0

    def take(self, size: int) -> bool:
        """False when there are not as many."""
        if self.taken + size > self._size:
            return False
        self.taken += size
        return True


class FileFetcher:
    """Fetches the files of a chat; ``enabled`` false refuses all of them, saying what to send instead.

    ``allowed`` decides about addresses, ``resolver`` finds them, ``tls`` verifies hosts; tests bring their own.
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
        self._room = self._limits.held_bytes

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
        """Add the files behind ``urls`` to the chat's attachments; how many bytes they are, to be given back when they
        are needed no longer. Raises 400 naming the one that fails, and 503."""
        wanted = [(url, _path_of(chat, url)) for url in urls]
        if not wanted:
            return 0
        if not self._enabled:
            raise _refusal(wanted[0][1], "this model takes files as bytes only; send the file as a data: URI")
        if len(wanted) > self._limits.files:
            raise _refusal(wanted[self._limits.files][1], f"at most {self._limits.files} files are fetched")
        allowance = _Allowance(self._limits.total_bytes)
        fetches = [asyncio.create_task(self._fetch(url, param, allowance)) for url, param in wanted]
        try:
            files = await asyncio.gather(*fetches)
        except BaseException:
            for fetch in fetches:
                fetch.cancel()
            self.release(allowance.taken)
            raise
        chat.attachments.update((url, file) for (url, _), file in zip(wanted, files, strict=True))
        return allowance.taken

    def release(self, size: int) -> None:
        """Files of so many bytes are needed no longer."""
        self._room += size

    async def _fetch(self, url: str, param: str, allowance: _Allowance) -> Attachment:
        try:
            async with asyncio.timeout(self._limits.seconds):
                data = await self._download(url, param, allowance)
        except TimeoutError:
            raise _refusal(param, "the file did not arrive in time") from None
        except ForbiddenAddressError:
            raise _refusal(param, "its host is not on the public internet") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _refusal(param, "the file could not be fetched") from None
        media_type = media_types.sniff(data[: media_types.HEAD])
        if media_type is None:
            raise _refusal(param, "the file is no picture, PDF, audio or video of a known kind")
        return Attachment(media_type, data)

    async def _download(self, url: str, param: str, allowance: _Allowance) -> bytes:
        """The bytes behind ``url``; every redirect is judged like the URL itself."""
        target = URL(url)
        for _ in range(self._limits.redirects + 1):
            self._judge(target, param)
            async with self._client().get(target, headers=_HEADERS, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response, param, allowance)
                target = target.join(URL(response.headers.get("Location", "")))
        raise _refusal(param, "there are too many redirects")

    def _judge(self, target: URL, param: str) -> None:
        if target.scheme != "https" or not target.host:
            raise _refusal(param, "only https: and data: URLs are accepted")
        if target.user is not None or target.password is not None:
            raise _refusal(param, "the URL must not carry credentials")
        if _is_literal(target.host) and not self._allowed(target.host):
            raise ForbiddenAddressError(target.host)

    async def _read(self, response: aiohttp.ClientResponse, param: str, allowance: _Allowance) -> bytes:
        if response.status != 200:
            raise _refusal(param, f"its server answered with status {response.status}")
        limit = self._limits.file_bytes
        data = bytearray()
        if (response.content_length or 0) <= limit:
            async for chunk in response.content.iter_any():
                if len(chunk) > self._room:
                    raise gateway_unavailable("overloaded", "The gateway holds too many files right now")
                if not allowance.take(len(chunk)):
                    raise _refusal(param, "the files of the request are too large together")
                self._room -= len(chunk)
                data += chunk
                if len(data) > limit:
                    break
            else:
                return bytes(data)
        raise _refusal(param, f"the file is larger than {limit} bytes")

    def _client(self) -> aiohttp.ClientSession:
        """The session: no cookies, no proxies, no credentials, no decompression, no reuse of connections."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
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
                timeout=aiohttp.ClientTimeout(total=self._limits.seconds),
            )
        return self._session


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _refusal(param: str, reason: str) -> GatewayError:
    code = "invalid_image_url" if param.endswith("image_url.url") else "invalid_file_url"
    return invalid_request(f"Invalid '{param}': {reason}.", param, code)


def _path_of(chat: Chat, url: str) -> str:
    """The JSON path of ``url`` in what the caller sent."""
    return next(_paths(chat.body.get("messages"), url, "messages"), "messages")


def _paths(value: Any, wanted: str, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, wanted, f"{path}.{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _paths(item, wanted, f"{path}[{place}]")
    elif value == wanted and not data_uri.is_data_uri(wanted):
        yield path
