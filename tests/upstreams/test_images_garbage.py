"""Malformed answers of image endpoints are the upstream's fault, never the gateway's."""

import pytest

from gateway.openai_api.errors import GatewayError
from gateway.upstreams.images.wire import Item, decode

GARBAGE = [
    b"",
    b"\xff",
    b"<html>",
    b"[" * 5000,
    b'{"data":' + b"[" * 5000,
    b'{"model": "\xff"}',
    b'{"data": [{"b64_json": "\xba"}]}',
    b'{"error": {"message": "\xc3"}}',
    b'{"data": [{"error": 5}]}',
    b'{"data": [{"b64_json": "\\ud800"}]}',
]


@pytest.mark.parametrize("data", ["%%%%", "\u00e9" * 40, "iVBO\ufeff" * 9, "A=AA" * 9])
def test_pictures_that_are_not_base64(data: str) -> None:
    with pytest.raises(GatewayError) as caught:
        _ = Item(b64_json=data).image
    assert (caught.value.status, caught.value.code) == (502, "upstream_bad_response")


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        decode(body)
    assert (caught.value.status, caught.value.code) == (502, "upstream_bad_response")
