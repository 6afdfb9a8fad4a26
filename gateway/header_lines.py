"""Headers as lines of an HTTP/1.1 message."""

from collections.abc import Mapping


def header_lines(headers: Mapping[str, str]) -> str:
    """Each header on a line of its own. Raises ValueError for a line break in one."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    text = "".join(lines)
    if "\r" in text or "\n" in text:
        raise ValueError("a line break in a header")
    return "\r\n".join([*lines, ""])
