"""One GET over HTTP or TLS, keeping the certificate that was served instead of judging it.

An enclave's certificate is self-signed: what makes it trustworthy is its hash in the attestation document, which the
caller compares with :attr:`Fetched.certificate`.
"""

import http.client
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from tools.verify.errors import UnreachableError, UsageError

_SOCKET_TIMEOUT_SECONDS = 10.0
_TOTAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """``certificate`` is the DER of the served leaf, or None over plain HTTP."""

    status: int
    body: bytes
    certificate: bytes | None


def origin(url: str) -> str:
    """``scheme://host[:port]`` of a URL, checked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"not a URL: {url}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"not an http or https URL: {url}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def fetch(url: str, *, limit: int = 64 * 1024) -> Fetched:
    """GET ``url``; a body over ``limit`` bytes, a refused connection or a time-out is an UnreachableError."""
    base = origin(url)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(base)
    try:
        connection.connect()
        certificate = _served_certificate(connection)
        connection.request("GET", target, headers={"Accept-Encoding": "identity", "Connection": "close"})
        response = connection.getresponse()
        return Fetched(response.status, _read_body(response, url, limit), certificate)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise UnreachableError(f"{url} cannot be reached: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()


def _connection(base: str) -> http.client.HTTPConnection:
    parts = urlsplit(base)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=_SOCKET_TIMEOUT_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, parts.port, timeout=_SOCKET_TIMEOUT_SECONDS, context=context)


def _served_certificate(connection: http.client.HTTPConnection) -> bytes | None:
    sock = connection.sock
    return sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None


def _read_body(response: http.client.HTTPResponse, url: str, limit: int) -> bytes:
    deadline = time.monotonic() + _TOTAL_SECONDS
    body = bytearray()
    while piece := response.read1(limit + 1 - len(body)):
        body += piece
        if len(body) > limit:
            raise UnreachableError(f"{url} answered with more than {limit} bytes")
        if time.monotonic() > deadline:
            raise UnreachableError(f"{url} did not finish its answer within {_TOTAL_SECONDS:.0f} s")
    return bytes(body)
