"""user_data binds a document to certificate and key only in nitriding's exact form."""

from collections.abc import Callable

import pytest

from tools.verify.attestation.binding import bind, read_binding

BINDING = bind(b"certificate", b"k" * 32)


def test_the_two_hashes_are_read_back() -> None:
    assert read_binding(BINDING.user_data()) == BINDING


@pytest.mark.parametrize(
    "change",
    [
        lambda user_data: user_data[:-1],
        lambda user_data: user_data + b"\0",
        lambda user_data: b"\x12\x21" + user_data[2:],
        lambda user_data: user_data[:34] + b"\x12\x21" + user_data[36:],
    ],
    ids=["a byte less", "a byte more", "first tag", "second tag"],
)
def test_the_right_hashes_in_another_form_bind_nothing(change: Callable[[bytes], bytes]) -> None:
    assert read_binding(change(BINDING.user_data())) is None
