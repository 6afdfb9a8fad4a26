"""The log lines of a gateway that has started to listen."""

import logging

import pytest

from gateway.__main__ import announce
from gateway.settings import Settings


@pytest.mark.parametrize(
    ("host", "written"), [("127.0.0.1", "127.0.0.1:8000"), ("::", "[::]:8000"), ("::1", "[::1]:8000")]
)
def test_addresses_are_written_as_in_a_url(caplog: pytest.LogCaptureFixture, host: str, written: str) -> None:
    caplog.set_level(logging.INFO)
    announce(Settings(), [(host, 8000)])
    assert caplog.messages[0].endswith(f" listens on {written}")
