"""Parses ``Retry-After`` (RFC 9110 section 10.2.3) and OpenAI's ``retry-after-ms``."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MAX_SECONDS = 366 * 86_400


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """The delay in seconds, from ``retry-after-ms`` or ``Retry-After`` (a number or an HTTP date).

    None without one, or with one that cannot be read or is longer than a year.
    """
    lower = {name.lower(): value for name, value in headers.items() if name.lower().startswith("retry-after")}
    milliseconds = _number(lower.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = lower.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)  # a date with "-0000" is UTC but parsed as naive
    return _plausible(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return None if number is None else _plausible(number)


def _plausible(seconds: float) -> float | None:
    return seconds if 0 <= seconds < _MAX_SECONDS else None
