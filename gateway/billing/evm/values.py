"""EVM values on the wire: addresses, 256-bit integers, bytes in hex; one form in, one form out."""

import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.keccak import keccak256

ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
UINT256_MAX = 2**256 - 1

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)
_HEX_INTEGER = re.compile(r"0[xX][0-9a-fA-F]{1,64}", re.ASCII)
_HEX = re.compile(r"0[xX][0-9a-fA-F]*", re.ASCII)


@lru_cache(maxsize=4096)
def address(text: str) -> bytes:
    """20 bytes; any letter case, because clients differ in checksums. Raises ValueError."""
    value = hex_bytes(text)
    if len(value) != 20:
        raise ValueError("not a 20-byte address")
    return value


def uint256(text: str, *, hexadecimal: bool = False) -> int:
    """A decimal integer without sign or leading zeros, or hex where that is in use too. Raises ValueError."""
    if _DECIMAL.fullmatch(text):
        value = int(text)
    elif hexadecimal and _HEX_INTEGER.fullmatch(text):
        value = int(text, 16)
    else:
        raise ValueError("not a canonical unsigned integer")
    if value > UINT256_MAX:
        raise ValueError("more than 256 bits")
    return value


def bytes32(text: str) -> bytes:
    """Exactly 32 bytes in hex. Raises ValueError."""
    value = hex_bytes(text)
    if len(value) != 32:
        raise ValueError("not 32 bytes")
    return value


def hex_bytes(text: str) -> bytes:
    """Whole bytes behind ``0x``. Raises ValueError."""
    if len(text) % 2 or not _HEX.fullmatch(text):
        raise ValueError("not 0x followed by pairs of hexadecimal digits")
    return bytes.fromhex(text[2:])


def as_hex(value: bytes) -> str:
    return f"0x{value.hex()}"


@lru_cache(maxsize=4096)
def checksummed(value: bytes) -> str:
    """EIP-55: the letter case of an address carries a checksum."""
    digits = value.hex()
    digest = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit for digit, nibble in zip(digits, digest, strict=False)
    )


def has_valid_checksum(text: str) -> bool:
    """Whether the letter case of an address is its EIP-55 checksum, or all lower or upper and thus none."""
    digits = text[2:]
    return digits in (digits.lower(), digits.upper()) or text == checksummed(address(text))


def word(value: int | bytes) -> bytes:
    """The 32-byte ABI word of an integer, address or bytes32."""
    return words((value,))


def words(values: Iterable[int | bytes]) -> bytes:
    """The ABI words of several values, one behind the other."""
    return b"".join(
        [value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0") for value in values]
    )
