"""EIP-712 digests of the four messages that x402 payers sign, and recovery of their signers (facts/x402.md 1.3).

Encoded by hand: the types are fixed, and a general encoder costs more to import than this to run.
"""

from functools import lru_cache

from coincurve import PrivateKey, PublicKey

from gateway.billing.evm.values import words
from gateway.keccak import keccak256

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of secp256k1: private keys are below it."""

_PERMISSIONS = "TokenPermissions(address token,uint256 amount)"
_EXACT_WITNESS = "Witness(address to,uint256 validAfter)"
_UPTO_WITNESS = "Witness(address to,address facilitator,uint256 validAfter)"
_PERMIT = (
    "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,"
    "Witness witness)"
)

_PERMISSIONS_HASH = keccak256(_PERMISSIONS.encode())
_EXACT_WITNESS_HASH = keccak256(_EXACT_WITNESS.encode())
_UPTO_WITNESS_HASH = keccak256(_UPTO_WITNESS.encode())
_EXACT_PERMIT_HASH = keccak256((_PERMIT + _PERMISSIONS + _EXACT_WITNESS).encode())
_UPTO_PERMIT_HASH = keccak256((_PERMIT + _PERMISSIONS + _UPTO_WITNESS).encode())
_TRANSFER_HASH = keccak256(
    b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    b"bytes32 nonce)"
)
_ALLOWANCE_HASH = keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
_TOKEN_DOMAIN_HASH = keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_PERMIT2_DOMAIN_HASH = keccak256(b"EIP712Domain(string name,uint256 chainId,address verifyingContract)")
_PERMIT2_NAME_HASH = keccak256(b"Permit2")


@lru_cache(maxsize=64)
def permit2_domain(chain_id: int, permit2: bytes) -> bytes:
    """Permit2's domain separator: a name, no version."""
    return _struct(_PERMIT2_DOMAIN_HASH, (_PERMIT2_NAME_HASH, chain_id, permit2))


@lru_cache(maxsize=64)
def token_domain(name: str, version: str, chain_id: int, token: bytes) -> bytes:
    """A token's domain separator."""
    return _struct(_TOKEN_DOMAIN_HASH, (keccak256(name.encode()), keccak256(version.encode()), chain_id, token))


def transfer_digest(
    domain: bytes, *, payer: bytes, payee: bytes, value: int, valid_after: int, valid_before: int, nonce: int
) -> bytes:
    """The digest that the payer of an EIP-3009 transfer signs."""
    return _digest(domain, _struct(_TRANSFER_HASH, (payer, payee, value, valid_after, valid_before, nonce)))


def allowance_digest(domain: bytes, *, owner: bytes, spender: bytes, value: int, nonce: int, deadline: int) -> bytes:
    """The digest that the owner of an EIP-2612 permit signs."""
    return _digest(domain, _struct(_ALLOWANCE_HASH, (owner, spender, value, nonce, deadline)))


def permit2_digest(
    domain: bytes,
    *,
    token: bytes,
    amount: int,
    spender: bytes,
    nonce: int,
    deadline: int,
    payee: bytes,
    facilitator: bytes | None,
    valid_after: int,
) -> bytes:
    """The digest that the payer of a Permit2 transfer signs; with ``facilitator`` for the upto proxy, else exact."""
    permitted = _struct(_PERMISSIONS_HASH, (token, amount))
    if facilitator is None:
        permit, witness = _EXACT_PERMIT_HASH, _struct(_EXACT_WITNESS_HASH, (payee, valid_after))
    else:
        permit, witness = _UPTO_PERMIT_HASH, _struct(_UPTO_WITNESS_HASH, (payee, facilitator, valid_after))
    return _digest(domain, _struct(permit, (permitted, spender, nonce, deadline, witness)))


def normalise_signature(signature: bytes) -> bytes:
    """The canonical form of an ECDSA signature: r, low s, v of 27 or 28.

    Accepts 65 bytes with v of 0, 1, 27 or 28 and the 64 bytes of EIP-2098, with high or low s. Anything else, such as a
    contract account's signature, is returned unchanged.
    """
    if len(signature) == 64:
        y_and_s = int.from_bytes(signature[32:], "big")
        parity, s = y_and_s >> 255, y_and_s & ((1 << 255) - 1)
    elif len(signature) == 65 and signature[64] in (0, 1, 27, 28):
        parity, s = signature[64] % 27, int.from_bytes(signature[32:64], "big")
    else:
        return signature
    if CURVE_ORDER // 2 < s < CURVE_ORDER:
        parity, s = 1 - parity, CURVE_ORDER - s
    return signature[:32] + s.to_bytes(32, "big") + bytes([27 + parity])


def recover(digest: bytes, signature: bytes) -> bytes | None:
    """The address that made a normalised signature; None if it is not a valid signature."""
    if len(signature) != 65:
        return None
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([signature[64] - 27]), digest, hasher=None)
    except ValueError:
        return None
    return address_of(key)


def sign(digest: bytes, key: PrivateKey) -> bytes:
    """The normalised signature of a digest."""
    return normalise_signature(key.sign_recoverable(digest, hasher=None))


def address_of(key: PublicKey) -> bytes:
    """The 20 bytes of an externally owned account's address."""
    return keccak256(key.format(compressed=False)[1:])[12:]


def _struct(type_hash: bytes, fields: tuple[bytes | int, ...]) -> bytes:
    return keccak256(type_hash + words(fields))


def _digest(domain: bytes, struct: bytes) -> bytes:
    return keccak256(b"\x19\x01" + domain + struct)
