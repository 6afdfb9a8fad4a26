"""What is said of registers that are not the expected ones."""

from tools.verify.attestation.measurements import Measurements

EXPECTED = Measurements((b"\x01" * 48, b"\x02" * 48, b"\x03" * 48))


def test_each_register_that_differs_is_named_with_both_values() -> None:
    assert EXPECTED.differences({0: b"\x01" * 48, 1: b"\x04" * 48}) == [
        f"PCR1 is {'04' * 48}, expected {'02' * 48}",
        f"PCR2 is absent, expected {'03' * 48}",
    ]
