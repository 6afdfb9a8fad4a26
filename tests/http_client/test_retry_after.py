"""The delay that a vendor asks for; none is read from a header that no vendor means."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from gateway.http_client.retry_after import read_retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2),
        ({"retry-after": "2.5"}, 2.5),
        ({"RETRY-AFTER-MS": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after-something": "9"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00"}, 0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


@pytest.mark.parametrize("zone", [UTC, None])
def test_retry_after_as_a_date(zone: Any) -> None:
    moment = (datetime.now(UTC) + timedelta(seconds=30)).replace(tzinfo=zone)
    seconds = read_retry_after({"Retry-After": format_datetime(moment)})
    assert seconds is not None
    assert 27 < seconds <= 30


@pytest.mark.parametrize(
    "date",
    [
        "Wed, 21 Oct 2015 07:28:00 +99999999999999999999",
        "Wed, 21 Oct 99999999999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        "Wed, 21 Oct 2015 99:28:00 GMT",
    ],
)
def test_a_date_beyond_all_calendars_is_none(date: str) -> None:
    assert read_retry_after({"Retry-After": date}) is None


def test_a_date_in_the_far_future_is_as_little_believed_as_a_number() -> None:
    assert read_retry_after({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}) is None
    assert read_retry_after({"Retry-After": "31622400"}) is None
    assert read_retry_after({"Retry-After": "31622399"}) == 31622399


@pytest.mark.parametrize(("zone", "hours"), [("GMT", 0), ("-0000", 0), ("+0200", 2), ("-0300", -3)])
def test_a_date_counts_in_its_own_zone(zone: str, hours: int) -> None:
    local = datetime.now(UTC) + timedelta(hours=hours, minutes=10)
    delay = read_retry_after({"Retry-After": f"{local:%a, %d %b %Y %H:%M:%S} {zone}"})
    assert delay is not None
    assert 500 < delay <= 600
