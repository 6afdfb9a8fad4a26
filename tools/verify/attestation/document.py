"""Parser of attestation documents: a COSE_Sign1, tagged or not, around a CBOR map (facts/enclave.md 2.1)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2

from tools.verify.errors import MalformedError

MAX_DOCUMENT_BYTES = 16 * 1024
MAX_BASE64_BYTES = 24 * 1024

_PROTECTED_ES384 = bytes.fromhex("a1013822")
_COSE_SIGN1_TAG = b"\xd2"
_FIRST_BYTES = (b"\x84", _COSE_SIGN1_TAG)
_INDEFINITE_MAP, _BREAK = b"\xbf", b"\xff"
_SIGNATURE_BYTES = 96
_PCR_BYTES = (32, 48, 64)
_MAX_PCRS = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Document:
    """The fields of a well-formed document, not yet verified.

    ``pcrs`` maps the register's index to its value; ``certificate`` and ``cabundle`` (root first) are DER. ``payload``
    is kept as received, because the signature covers these bytes.
    """

    module_id: str
    timestamp: datetime
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    payload: bytes
    signature: bytes

    @property
    def signed_bytes(self) -> bytes:
        """COSE's Sig_structure, over which ES384 is computed (RFC 9052, 4.4)."""
        return cbor2.dumps(["Signature1", _PROTECTED_ES384, b"", self.payload])


def parse(data: bytes) -> Document:
    """Parse a document given as raw CBOR or as base64 text in any number of lines. Raises MalformedError."""
    data = decode(data)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise MalformedError(f"{len(data)} bytes long, more than {MAX_DOCUMENT_BYTES}")
    payload, signature = _cose_sign1(data.removeprefix(_COSE_SIGN1_TAG))
    fields = _payload_map(payload)
    return Document(
        module_id=_module_id(fields),
        timestamp=_timestamp(fields),
        pcrs=_pcrs(fields),
        certificate=_bytes(fields.get("certificate"), "certificate", 1, 1024),
        cabundle=_cabundle(fields),
        public_key=_optional_bytes(fields, "public_key", 1, 1024),
        user_data=_optional_bytes(fields, "user_data", 0, 512),
        nonce=_optional_bytes(fields, "nonce", 0, 512),
        payload=payload,
        signature=signature,
    )


def decode(data: bytes) -> bytes:
    """The CBOR of a document given in either form. Raises MalformedError if it is neither, as hexadecimal text is."""
    if data[:1] in _FIRST_BYTES:
        return data
    try:
        decoded = base64.b64decode(b"".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if decoded[:1] not in _FIRST_BYTES:
        raise MalformedError("neither a COSE_Sign1 array nor base64 text of one")
    return decoded


def _cose_sign1(data: bytes) -> tuple[bytes, bytes]:
    """Payload and signature of ``[protected, {}, payload, signature]``."""
    match _decode_cbor(data, "COSE structure"):
        case [bytes(protected), dict(unprotected), bytes(payload), bytes(signature)]:
            pass
        case _:
            raise MalformedError("not a COSE_Sign1 array of four")
    if protected != _PROTECTED_ES384:
        raise MalformedError("signed with something other than ES384: the protected header is not {1: -35}")
    if unprotected:
        raise MalformedError("carrying an unprotected header that is not empty")
    if len(signature) != _SIGNATURE_BYTES:
        raise MalformedError(f"carrying a signature of {len(signature)} bytes instead of {_SIGNATURE_BYTES}")
    return payload, signature


def _payload_map(payload: bytes) -> dict[Any, Any]:
    """The payload's map; of indefinite length (``bf..ff``) since 2025, definite before."""
    fields = _decode_cbor(payload, "payload")
    if not isinstance(fields, dict):
        raise MalformedError("carrying a payload that is not a map")
    return fields


def _decode_cbor(data: bytes, what: str) -> Any:
    """Decode one CBOR value in deterministic encoding: encoding it again must give the same bytes.

    This excludes trailing bytes, repeated keys, padded lengths, chunked strings and bignums.
    """
    try:
        value = cbor2.loads(data)
        if data[:1] == _INDEFINITE_MAP:
            encoded = b"".join(
                [_INDEFINITE_MAP, *(cbor2.dumps(each) for pair in value.items() for each in pair), _BREAK]
            )
        else:
            encoded = cbor2.dumps(value)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedError(f"not CBOR in its {what}: {error}") from None
    if encoded != data:
        raise MalformedError(f"not in plain encoding, or followed by more bytes, in its {what}")
    return value


def _module_id(fields: Mapping[Any, Any]) -> str:
    if fields.get("digest") != "SHA384":
        raise MalformedError("using a digest other than SHA384")
    module_id = fields.get("module_id")
    if not isinstance(module_id, str) or not module_id:
        raise MalformedError("without a module_id")
    return module_id


def _timestamp(fields: Mapping[Any, Any]) -> datetime:
    milliseconds = fields.get("timestamp")
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool) or milliseconds <= 0:
        raise MalformedError("without a timestamp in milliseconds")
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise MalformedError("made at a time that is out of range") from None


def _pcrs(fields: Mapping[Any, Any]) -> dict[int, bytes]:
    pcrs = fields.get("pcrs")
    if not isinstance(pcrs, dict) or not pcrs:
        raise MalformedError("without a map of PCRs")
    for index, value in pcrs.items():
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < _MAX_PCRS:
            raise MalformedError("carrying a PCR whose index is not 0 to 31")
        if not isinstance(value, bytes) or len(value) not in _PCR_BYTES:
            raise MalformedError(f"carrying a PCR{index} that is not 32, 48 or 64 bytes")
    return pcrs


def _cabundle(fields: Mapping[Any, Any]) -> tuple[bytes, ...]:
    cabundle = fields.get("cabundle")
    if not isinstance(cabundle, list) or not cabundle:
        raise MalformedError("without a cabundle")
    return tuple(_bytes(entry, "cabundle entry", 1, 1024) for entry in cabundle)


def _optional_bytes(fields: Mapping[Any, Any], name: str, minimum: int, maximum: int) -> bytes | None:
    """Absent or null: AWS specifies that unrequested fields are omitted, but real documents carry null."""
    value = fields.get(name)
    return None if value is None else _bytes(value, name, minimum, maximum)


def _bytes(value: Any, name: str, minimum: int, maximum: int) -> bytes:
    if not isinstance(value, bytes) or not minimum <= len(value) <= maximum:
        raise MalformedError(f"carrying a {name} that is not {minimum} to {maximum} bytes")
    return value
