"""Checks of single settings, be they from the environment or from the injection."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from gateway.billing.evm.eip712 import CURVE_ORDER
from gateway.billing.evm.values import ADDRESS, has_valid_checksum
from gateway.loopback import is_loopback

Check = Callable[[str, str], str]
"""Takes the name of a setting and its text; returns the value, or raises SettingsError."""
_MAX_URL_CHARS = 2048
"""Keeps any injection within one packet between worker processes."""


class SettingsError(Exception):
    """An invalid setting; the message is one line for the operator."""


def checked_url(name: str, url: str) -> str:
    """``url`` without a trailing slash; it must be https, or http to loopback. Raises SettingsError."""
    if not re.fullmatch(r"[\x21-\x7e]+", url):
        raise SettingsError(f"{name} contains characters that are not allowed in a URL")
    if len(url) > _MAX_URL_CHARS:
        raise SettingsError(f"{name} is longer than {_MAX_URL_CHARS} characters")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port, host.encode("idna")
    except ValueError:
        raise SettingsError(f"{name} is not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(f"{name} must be an https URL")
    if parts.scheme == "http" and not is_loopback(host):
        raise SettingsError(f"{name} must be https; http is only allowed for loopback addresses")
    if "?" in url or "#" in url or "@" in parts.netloc:
        raise SettingsError(f"{name} must be a plain URL without credentials, query or fragment")
    return url.rstrip("/")


def checked_private_key(name: str, key: str) -> str:
    """An Ethereum private key in hex. Raises SettingsError."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", key) or not 0 < int(key, 16) < CURVE_ORDER:
        raise SettingsError(f"{name} must be an Ethereum private key (0x and 64 hexadecimal digits)")
    return key


def checked_address(name: str, address: str) -> str:
    """A non-zero Ethereum address. Raises SettingsError."""
    if not ADDRESS.fullmatch(address):
        raise SettingsError(f"{name} must be an Ethereum address (0x and 40 hexadecimal digits)")
    if not int(address, 16):
        raise SettingsError(f"{name} must not be the zero address")
    if not has_valid_checksum(address):
        raise SettingsError(f"{name} has a wrong EIP-55 checksum (the case of its letters): check it for typing errors")
    return address


def checked_key(name: str, key: str) -> str:
    """An API key that is valid in a header: printable ASCII without spaces. Raises SettingsError."""
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", key):
        raise SettingsError(f"{name} contains characters that are not allowed in an API key")
    return key


def checked_host(name: str, host: str) -> str:
    """An address or a resolvable host name. Raises SettingsError."""
    try:
        _ = host.encode("idna")
    except UnicodeError:
        raise SettingsError(f"{name} must be an IP address or a host name") from None
    return host


_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:,@/?#]*)(:[0-9]{1,5})?"
_POSTGRES = re.compile(rf"postgres(ql)?://([^/?#]*@)?{_HOST}(,{_HOST})*(?=[/?#]|$)")


def checked_store(name: str, url: str) -> str:
    """A PostgreSQL URL, with credentials and options as in libpq. Raises SettingsError."""
    if not (_POSTGRES.match(url) and _is_readable(url)):
        raise SettingsError(
            f"{name} must be a PostgreSQL URL (postgresql://...); percent-encode special characters in the password"
        )
    return url


def checked_sink(name: str, url: str) -> str:
    """A file on this machine, or an http or https URL; plain http is safe because records are encrypted.

    Raises SettingsError.
    """
    if not (re.match(r"file:(//)?/[^/]|https?://[^/]", url) and _is_readable(url)):
        raise SettingsError(f"{name} must be an http, https or file URL (file:///...)")
    return url


def _is_readable(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True
