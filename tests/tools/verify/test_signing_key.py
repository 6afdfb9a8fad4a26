"""What is taken for a signing key."""

import pytest

from tools.verify.errors import MalformedError
from tools.verify.signing_key import load_signing_key


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"{}",
        b'{"public_key": 1}',
        b'{"public_key": "x"}',
        b'{"public_key": "\\ud800"}',
        '{"public_key": "\u00e9"}'.encode(),
        b"-----BEGIN PUBLIC KEY-----\n",
    ],
)
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        load_signing_key(data)
