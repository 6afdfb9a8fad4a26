"""One GET over HTTP or TLS that returns the server's certificate instead of verifying it.

An enclave's certificate is self-signed. It is authenticated by its hash in the attestation document, which the caller
compares with ``Fetched.certificate``.
"""

import functools
import http.client
import io
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tools.verify.errors import UnreachableError, UsageError

_SOCKET_TIMEOUT_SECONDS = 10.0
_TOTAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """The body of a 200. ``certificate`` is the DER of the served leaf, or None over plain HTTP."""

    body: bytes
    certificate: bytes | None


def origin(url: str) -> str:
    """``scheme://host[:port]`` of a URL. Raises UsageError."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"not a URL: {url}") from None
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[^\x00-\x20\x7f]+", name):
        raise UsageError(f"not an http or https URL: {url}")
    host = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def fetch(url: str, *, limit: int = 64 * 1024) -> Fetched:
    """GET ``url``. Raises UnreachableError unless the response is a 200 of at most ``limit`` bytes, in time."""
    base = origin(url)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = unverified_connection(base, seconds=_TOTAL_SECONDS)
    try:
        connection.connect()
        certificate = _served_certificate(connection)
        connection.request("GET", target, headers={"Accept-Encoding": "identity", "Connection": "close"})
        response = connection.getresponse()
        body = _read_body(response, url, limit)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise UnreachableError(f"{url} cannot be reached: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise UnreachableError(f"{url} returned {response.status}")
    return Fetched(body, certificate)


def unverified_connection(base: str, *, seconds: float) -> http.client.HTTPConnection:
    """A connection, not yet opened, that does not verify the server's certificate. A response that is incomplete
    ``seconds`` after its request raises TimeoutError, even if data keeps arriving."""
    parts = urlsplit(base)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=_SOCKET_TIMEOUT_SECONDS)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        port = parts.port or 443
        connection = http.client.HTTPSConnection(host, port, timeout=_SOCKET_TIMEOUT_SECONDS, context=context)
    connection.response_class = functools.partial(_DeadlineResponse, seconds=seconds)  # type: ignore[assignment]
    return connection


class _DeadlineResponse(http.client.HTTPResponse):
    """A response that must be complete within ``seconds``."""

    def __init__(self, sock: socket.socket, *arguments: Any, seconds: float, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_DeadlineReader(time.monotonic() + seconds, seconds, sock, self.fp.detach()))


class _DeadlineReader(io.RawIOBase):
    """Reads ``raw``, which reads ``sock``, until ``deadline`` on the monotonic clock; then raises TimeoutError."""

    def __init__(self, deadline: float, seconds: float, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._deadline, self._seconds, self._sock, self._raw = deadline, seconds, sock, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if (left := self._deadline - time.monotonic()) > 0:
            self._sock.settimeout(min(left, self._sock.gettimeout() or left))
            try:
                return self._raw.readinto(buffer)
            except TimeoutError:
                if time.monotonic() < self._deadline:
                    raise
        raise TimeoutError(f"no complete response within {self._seconds:g} s")

    def close(self) -> None:
        self._raw.close()
        super().close()


def _served_certificate(connection: http.client.HTTPConnection) -> bytes | None:
    sock = connection.sock
    return sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None


def _read_body(response: http.client.HTTPResponse, url: str, limit: int) -> bytes:
    body = bytearray()
    while piece := response.read1(limit + 1 - len(body)):
        body += piece
        if len(body) > limit:
            raise UnreachableError(f"{url} returned more than {limit} bytes")
    return bytes(body)
