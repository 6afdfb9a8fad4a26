"""Strict parsing of base64 ``data:`` URIs (RFC 2397), with errors that name the caller's parameter."""

import binascii
from typing import NamedTuple

from gateway.openai_api.errors import GatewayError, invalid_request
from gateway.upstreams import media_types

_ALIASES = {"image/jpg": "image/jpeg", "application/x-pdf": "application/pdf"}


class DataURI(NamedTuple):
    """``media_type`` is lower case without parameters, ``base64`` is valid and padded."""

    media_type: str
    base64: str

    @property
    def sniffed(self) -> str | None:
        """The media type that the content shows by its first bytes, if it does."""
        return media_types.sniff_base64(self.base64)

    def decode(self) -> bytes:
        return binascii.a2b_base64(self.base64)


def is_data_uri(url: str) -> bool:
    return url[:5].lower() == "data:"


def parse(uri: str, param: str) -> DataURI:
    """Parse a base64 ``data:`` URI. Raises 400 with ``param`` and code invalid_base64 for anything else."""
    head, comma, payload = uri.partition(",")
    if not is_data_uri(head) or not comma:
        raise _invalid(param, "expected a data: URI with base64 content")
    media_type, *parameters = head[5:].split(";")
    if not parameters or parameters[-1].strip().lower() != "base64":
        raise _invalid(param, "the data: URI must be base64-encoded")
    media_type = media_type.strip().lower()
    if "/" not in media_type:
        raise _invalid(param, "the data: URI must name its media type")
    return DataURI(_ALIASES.get(media_type, media_type), checked_base64(payload, param))


def checked_base64(text: str, param: str) -> str:
    """``text``, if it is non-empty padded base64 in the standard alphabet. Raises 400 invalid_base64 otherwise."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        decoded = b""
    if not decoded:
        raise _invalid(param, "the content is not valid base64")
    return text


def _invalid(param: str, reason: str) -> GatewayError:
    return invalid_request(f"Invalid '{param}': {reason}.", param, "invalid_base64")
