"""The Nitro Secure Module: CBOR messages over one ioctl of ``/dev/nsm`` (Linux's ``uapi/linux/nsm.h``).

The hypervisor answers, not the host. The document is parsed, not verified: there is no one in between.
"""

import fcntl
import os
import secrets
import struct
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cbor2

NSM_IOCTL_RAW = 0xC0200A00
"""``_IOWR(0x0A, 0, struct nsm_raw)``: two pairs of address and length, 64 bits each."""
MAX_RESPONSE_BYTES = 0x3000
_RAW = struct.Struct("=QQQQ")
_NONCE_BYTES = 20


class NsmError(Exception):
    """The module cannot be called, or its response is not the requested one."""


class Nsm:
    """The module behind ``path``. Calls block for milliseconds, at worst for the driver's two minutes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def time(self) -> float:
        """The hypervisor's time in seconds since the epoch, from an attestation document over a new nonce.

        Raises NsmError.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wanted = {"user_data": None, "nonce": nonce, "public_key": None}
        document = _field(self._call("Attestation", wanted), "document", bytes)
        payload = _payload(document)
        if payload.get("nonce") != nonce:
            raise NsmError("the document was issued for another nonce")
        seconds: float = _field(payload, "timestamp", int) / 1000
        return seconds

    def _call(self, request: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            response = cbor2.loads(self._exchange(cbor2.dumps({request: fields})))
        except OSError as error:
            raise NsmError(f"{self._path}: {error.strerror}") from error
        except (cbor2.CBORError, ValueError) as error:
            raise NsmError("the response is not CBOR") from error
        match response:
            case {"Error": str(code)}:
                raise NsmError(f"{request}: {code}")
            case dict() if isinstance(response.get(request), dict):
                found: Mapping[str, Any] = response[request]
                return found
        raise NsmError(f"the response does not match the request {request}")

    def _exchange(self, message: bytes) -> bytes:
        request, response = array("B", message), array("B", bytes(MAX_RESPONSE_BYTES))
        raw = bytearray(_RAW.pack(*request.buffer_info(), *response.buffer_info()))
        device = os.open(self._path, os.O_RDWR)
        try:
            fcntl.ioctl(device, NSM_IOCTL_RAW, raw, True)
        finally:
            os.close(device)
        return response.tobytes()[: _RAW.unpack(raw)[3]]


def _payload(document: bytes) -> Mapping[str, Any]:
    try:
        match cbor2.loads(document):
            case [_, _, bytes(encoded), _]:
                payload = cbor2.loads(encoded)
            case _:
                payload = None
    except (cbor2.CBORError, ValueError) as error:
        raise NsmError("the document is not CBOR") from error
    if not isinstance(payload, dict):
        raise NsmError("the document has no payload")
    return payload


def _field(fields: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = fields.get(name)
    if type(value) is not kind:
        raise NsmError(f"the response has no {name}")
    return value
