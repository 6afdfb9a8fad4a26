"""Headers on the wire."""

import pytest

from gateway.header_lines import header_lines


@pytest.mark.parametrize(
    ("headers", "lines"),
    [({}, ""), ({"A": "1"}, "A: 1\r\n"), ({"A": "1", "B": "two, three"}, "A: 1\r\nB: two, three\r\n")],
)
def test_each_header_is_a_line(headers: dict[str, str], lines: str) -> None:
    assert header_lines(headers) == lines


@pytest.mark.parametrize("broken", ["\r", "\n", "\r\nX: y", "x\r\n"])
def test_no_header_is_more_than_a_line(broken: str) -> None:
    for headers in ({"A": f"1{broken}"}, {"A": "1", f"B{broken}": "2"}):
        with pytest.raises(ValueError, match="line break"):
            header_lines(headers)
