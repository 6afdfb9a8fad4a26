"""x402 v2 wire format: its objects, and the headers that carry them as base64 of JSON (facts/x402.md 1.1, 1.2)."""

import base64
import binascii
from typing import Any

import msgspec

VERSION = 2

PAYMENT_REQUIRED = "PAYMENT-REQUIRED"
PAYMENT_SIGNATURE = "PAYMENT-SIGNATURE"
PAYMENT_RESPONSE = "PAYMENT-RESPONSE"
V1_PAYMENT = "X-PAYMENT"

EIP2612_EXTENSION = "eip2612GasSponsoring"


class MalformedPaymentError(Exception):
    """The header is not valid x402 v2; the message is for the caller."""


class _Object(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class Resource(_Object, frozen=True):
    url: str
    description: str = ""
    mime_type: str = ""


class Requirements(_Object, frozen=True):
    """One element of ``accepts``. ``amount`` is in atomic units of ``asset``, as a decimal string."""

    scheme: str
    network: str
    amount: str
    asset: str
    pay_to: str
    max_timeout_seconds: int
    extra: dict[str, Any] = {}


class PaymentRequired(_Object, frozen=True):
    """The offers of a 402."""

    x402_version: int = msgspec.field(name="x402Version")
    error: str
    resource: Resource
    accepts: list[Requirements]
    extensions: dict[str, Any] = {}


class _Signed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Eip3009Authorization(_Signed, frozen=True):
    """``TransferWithAuthorization`` of the token itself."""

    from_: str = msgspec.field(name="from")
    to: str
    value: str
    valid_after: str
    valid_before: str
    nonce: str


class TokenPermissions(_Signed, frozen=True):
    token: str
    amount: str


class Witness(_Signed, frozen=True):
    """``facilitator`` is present in upto only."""

    to: str
    valid_after: str
    facilitator: str | msgspec.UnsetType = msgspec.UNSET


class Permit2Authorization(_Signed, frozen=True):
    """``PermitWitnessTransferFrom`` of Permit2."""

    from_: str = msgspec.field(name="from")
    permitted: TokenPermissions
    spender: str
    nonce: str
    deadline: str
    witness: Witness


class SchemePayload(_Signed, frozen=True):
    """The scheme's payload: a signature and exactly one of the two authorizations."""

    signature: str
    authorization: Eip3009Authorization | msgspec.UnsetType = msgspec.UNSET
    permit2_authorization: Permit2Authorization | msgspec.UnsetType = msgspec.UNSET


class PaymentPayload(_Object, frozen=True):
    """A client's payment. ``accepted`` is kept as it was sent: the quote's MAC covers all of its keys."""

    x402_version: int = msgspec.field(name="x402Version")
    payload: SchemePayload
    accepted: dict[str, Any]
    resource: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None


class ForwardedPayment(_Object, frozen=True):
    """A payment as the journal keeps it and the facilitator gets it, to verify and to settle.

    ``payload`` is the scheme's, ``accepted`` the ``Requirements``: JSON, which is encoded once for all three.
    """

    x402_version: int = msgspec.field(name="x402Version")
    payload: msgspec.Raw
    accepted: msgspec.Raw
    resource: dict[str, str] | None = None
    extensions: dict[str, Any] | None = None

    @property
    def requirements(self) -> dict[str, Any]:
        """The accepted offer; its amount is the cap."""
        requirements: dict[str, Any] = msgspec.json.decode(self.accepted)
        return requirements


class SettleResponse(_Object, frozen=True):
    """The result of a settlement. ``transaction`` is the hash, also of a reverted or pending one, or empty.

    Clients reject a response without it (facts/x402.md 1.2), so unlike other defaults it is encoded when empty.
    """

    success: bool
    transaction: str | None = msgspec.field(default_factory=str)
    network: str | None = ""
    payer: str | None = None
    amount: str | None = None
    error_reason: str | None = None
    error_message: str | None = None


class VerifyResponse(_Object, frozen=True):
    is_valid: bool
    payer: str | None = None
    invalid_reason: str | None = None
    invalid_message: str | None = None


class SupportedKind(_Object, frozen=True):
    x402_version: int = msgspec.field(name="x402Version")
    scheme: str
    network: str
    extra: dict[str, Any] | None = None


class Supported(_Object, frozen=True):
    """What it supports; ``signers`` by CAIP-2 family (``eip155:*``) or network. Go writes an empty list as null."""

    kinds: list[SupportedKind]
    extensions: list[str] | None = None
    signers: dict[str, list[str] | None] | None = None


def read_payment(header: str, *, max_bytes: int, max_depth: int) -> PaymentPayload:
    """The payload in a ``PAYMENT-SIGNATURE`` header; raises MalformedPaymentError."""
    fields = _read_version_2(_decode_base64(header, max_bytes), max_depth)
    try:
        payment = msgspec.convert(fields, PaymentPayload)
    except msgspec.ValidationError as error:
        raise MalformedPaymentError(f"{PAYMENT_SIGNATURE}: {error}") from None
    payload = payment.payload
    if (payload.authorization is msgspec.UNSET) is (payload.permit2_authorization is msgspec.UNSET):
        raise MalformedPaymentError(
            f"{PAYMENT_SIGNATURE}: payload must hold exactly one of authorization and permit2Authorization"
        )
    return payment


def write_header(value: PaymentRequired | SettleResponse) -> str:
    """The header value of ``value``."""
    return base64.b64encode(msgspec.json.encode(value)).decode()


def _decode_base64(header: str, max_bytes: int) -> bytes:
    if len(header) > max_bytes:
        raise MalformedPaymentError(f"payment header of {len(header)} bytes exceeds the limit of {max_bytes} bytes")
    try:
        return base64.b64decode(header.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise MalformedPaymentError("payment header is not standard base64") from None


def _whole(text: str) -> int | float:
    """A number written as a float, as an integer if it is one."""
    number = float(text)
    return int(number) if number.is_integer() else number


_decode_json = msgspec.json.Decoder(float_hook=_whole).decode
"""JSON libraries that know floats only (Gson, Moshi) echo an offer's 600 as 600.0, and 1795840248 as 1.795840248E9."""


def _read_version_2(raw: bytes, max_depth: int) -> dict[str, Any]:
    try:
        value = _decode_json(raw)
    except (ValueError, RecursionError):
        raise MalformedPaymentError("payment header is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedPaymentError("payment header is not a JSON object")
    if raw.count(b"{") + raw.count(b"[") > max_depth and _deeper_than(value, max_depth):
        raise MalformedPaymentError(f"payment header is nested deeper than {max_depth} levels")
    if value.get("x402Version") != VERSION:
        raise MalformedPaymentError(f"x402Version must be {VERSION}")
    return value


def _deeper_than(value: object, levels: int) -> bool:
    """Whether objects and arrays are nested more than ``levels`` deep. Iterative, breadth first."""
    items = [value]
    for _ in range(levels):
        below: list[object] = []
        for item in items:
            if type(item) is dict:
                below += item.values()
            elif type(item) is list:
                below += item
        if not below:
            return False
        items = below
    return not {dict, list}.isdisjoint(map(type, items))
