"""Generates and mutates CBOR, with values that JSON does not have."""

from random import Random
from typing import Any

import cbor2

from tools.fuzz.mutations import json_value, mutate_tree

_ODD_ITEMS = (
    b"",
    b"\x00",
    bytes(32),
    bytes(48),
    b"\xff" * 96,
    b"\x84" * 40,
    cbor2.undefined,
    cbor2.CBORSimpleValue(99),
    cbor2.CBORTag(24, b"\xa0"),
    cbor2.CBORTag(55799, {}),
    float("nan"),
    float("-inf"),
    2**64,
    -(2**64) - 1,
    (1, 2),
)
_ODD_CODES = (
    b"\xd8\x1c\x81\xd8\x1d\x00",  # a list that holds itself
    b"\xd9\x01\x00\x81\xd8\x19\x05",  # a reference to a string that is not there
    b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",  # 2^(2^63 - 1)
    b"\xd8\x23\x61(",  # a regular expression
    b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",  # a list of 2^63 - 1 items
    b"\x5b\x00\x00\x00\x7f\xff\xff\xff\xff",  # 512 GiB of bytes
    b"\xbf",
    b"\xff",
    b"\x81" * 500,
    b"\xa1\xf9\x7e\x00\x00",  # a map by NaN
)


def cbor_value(random: Random) -> Any:
    """A random small value."""
    return random.choice(_ODD_ITEMS) if random.random() < 0.4 else json_value(random, 2)


def mutate_cbor(random: Random, value: Any, changes: int) -> bytes:
    """The encoding of a mutated copy of ``value``; sometimes with an odd byte inserted."""
    encoded = cbor2.dumps(mutate_tree(random, value, changes, cbor_value))
    if random.random() < 0.1:
        place = random.randint(0, len(encoded))
        encoded = encoded[:place] + random.choice(_ODD_CODES) + encoded[place:]
    return encoded
