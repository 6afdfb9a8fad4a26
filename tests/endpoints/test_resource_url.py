"""The URL that a payment is for: the one that the client has called, whoever ended its TLS."""

from dataclasses import replace
from unittest import mock

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.endpoints.resource_url import resource_url
from tests.recording_payments import RecordingPayments
from tests.running_gateway import RunningGateway


@pytest.mark.parametrize("enclave", [False, True])
@pytest.mark.parametrize(
    ("forwarded", "scheme"),
    [(None, "http"), ("https", "https"), ("HTTPS", "https"), ("http", "http"), ("http, https", "https"), ("x", "http")],
)
async def test_its_scheme_is_that_of_the_proxy_in_front(
    paid: RunningGateway, payments: RecordingPayments, enclave: bool, forwarded: str | None, scheme: str
) -> None:
    """In an enclave that is nitriding, which serves https only and does not say so."""
    paid.services.settings = replace(paid.services.settings, enclave=enclave)
    headers = {"Host": "gw.example", **({"X-Forwarded-Proto": forwarded} if forwarded else {})}
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]}
    assert (await paid.post("/v1/chat/completions", body, headers=headers)).status == 200
    [order] = payments.orders
    assert order.resource_url == f"{'https' if enclave else scheme}://gw.example/v1/chat/completions"


@pytest.mark.parametrize("enclave", [False, True])
def test_only_a_proxy_on_this_machine_is_believed(enclave: bool) -> None:
    transport = mock.Mock()
    transport.get_extra_info = {"peername": ("192.0.2.1", 4000)}.get
    headers = {"Host": "gw.example", "X-Forwarded-Proto": "https"}
    request = make_mocked_request("POST", "/v1/completions", headers, transport=transport)
    assert resource_url(request, enclave=enclave) == "http://gw.example/v1/completions"
