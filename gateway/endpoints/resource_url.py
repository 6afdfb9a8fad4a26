"""The URL of what a request pays for, as the client called it."""

import re
from functools import lru_cache

from aiohttp import web
from yarl import URL

from gateway.loopback import is_loopback
from gateway.openai_api.errors import GatewayError

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def resource_url(request: web.BaseRequest, *, enclave: bool) -> str:
    """The request's URL; its host is the client's ``Host`` header. Raises 400 if that is not a host.

    Some clients refuse to pay for another URL than the one that they have called.
    """
    try:
        return _url(_scheme(request, enclave=enclave), request.headers.get("Host", ""), request.path)
    except ValueError:
        raise GatewayError("The Host header is not a valid host", status=400, code="invalid_host") from None


def _scheme(request: web.BaseRequest, *, enclave: bool) -> str:
    """``https`` where a proxy on this machine ends TLS: nitriding in an enclave, or one that says so."""
    forwarded = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
    return "https" if (enclave or forwarded == "https") and is_loopback(request.remote) else request.scheme


@lru_cache(maxsize=256)
def _url(scheme: str, host: str, path: str) -> str:
    """Raises ValueError for an invalid host, or a port above 65535."""
    if not _HOST.fullmatch(host):
        raise ValueError(host)
    return str(URL.build(scheme=scheme, authority=host, path=path))
