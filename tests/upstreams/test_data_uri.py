import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.errors import GatewayError
from gateway.upstreams import data_uri


@pytest.mark.parametrize(
    ("uri", "media_type"),
    [
        ("data:image/png;base64,aGk=", "image/png"),
        ("DATA:Image/PNG;Base64,aGk=", "image/png"),
        ("data:image/jpg;base64,aGk=", "image/jpeg"),
        ("data:text/plain;charset=utf-8;base64,aGk=", "text/plain"),
    ],
)
def test_the_parts_of_a_data_uri(uri: str, media_type: str) -> None:
    parsed = data_uri.parse(uri, "p")
    assert parsed == (media_type, "aGk=")
    assert parsed.decode() == b"hi"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "data:",
        "https://example.com/a.png",
        "data:image/png,aGk=",
        "data:image/png;base64",
        "data:;base64,aGk=",
        "data:image/png;base64,",
        "data:image/png;base64,aGk",
        "data:image/png;base64,a-_=",
        "data:image/png;base64,aG k=",
        "data:image/png;base64,aGk=\n",
        "data:image/png;base64,aGk=aGk=",
        "data:image/png;base64,é===",
    ],
)
def test_a_bad_data_uri_is_refused_by_name(uri: str) -> None:
    with pytest.raises(GatewayError) as caught:
        data_uri.parse(uri, "messages[0].content[1].image_url.url")
    assert caught.value.status == 400
    assert caught.value.code == "invalid_base64"
    assert caught.value.param == "messages[0].content[1].image_url.url"


@given(st.binary(min_size=1))
def test_what_was_encoded_is_read_back(data: bytes) -> None:
    uri = f"data:application/pdf;base64,{base64.b64encode(data).decode()}"
    assert data_uri.parse(uri, "p").decode() == data
