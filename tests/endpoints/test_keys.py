"""``POST /v1/keys``: accepted once, validated completely, and never echoing a key."""

import asyncio
import logging
from typing import Any

import pytest

from tests.running_gateway import RunningGateway, StartGateway
from tools.simulators.fleet import Fleet

KEYS = {
    "openai_api_key": "sk-secret-openai",
    "bytedance_api_key": "ark-secret",
    "facilitator_url": "https://facilitator.example",
    "evm_payment_address": "0x" + "1" * 40,
}


async def test_keys_open_the_upstreams_they_name(fleet: Fleet, start_gateway: StartGateway) -> None:
    urls = {name: value for name, value in fleet.environment().items() if name.endswith("_BASE_URL")}
    gateway = await start_gateway(urls)
    assert (await gateway.chat("gpt-4.1", "Hi")).status == 503
    response = await gateway.post("/v1/keys", KEYS)
    assert response.status == 200
    assert await response.json() == {
        "status": "ok",
        "providers_initialized": ["openai", "bytedance"],
        "heartbeat_enabled": False,
    }
    assert (await gateway.chat("gpt-4.1", "Hi")).status == 200
    assert fleet.openai.requests[-1].headers["Authorization"] == "Bearer sk-secret-openai"
    refused = await gateway.chat("grok-4.3", "Hi")
    assert refused.status == 503
    assert "xAI" in (await refused.json())["error"]["message"]
    async with gateway.session.get(gateway.url + "/health") as health:
        body = await health.json()
    assert body["providers"] == ["openai", "bytedance"]
    assert (body["facilitator"], body["pay_to"]) == (KEYS["facilitator_url"], KEYS["evm_payment_address"])


async def test_a_url_of_the_injection_is_the_same_with_a_trailing_slash(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    assert (await gateway.post("/v1/keys", {**KEYS, "facilitator_url": KEYS["facilitator_url"] + "/"})).status == 200
    async with gateway.session.get(gateway.url + "/health") as health:
        assert (await health.json())["facilitator"] == KEYS["facilitator_url"]


async def test_a_journal_that_cannot_be_opened_is_the_reason_of_a_503(start_gateway: StartGateway) -> None:
    gateway = await start_gateway({"GATEWAY_PAYMENTS": "required", "GATEWAY_JOURNAL": "/dev/null/journal"})
    response = await gateway.post("/v1/keys", KEYS)
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (503, "payments_unavailable")
    assert "journal /dev/null/journal: " in error["message"]
    assert gateway.services.keyring.configured() == []
    assert (await gateway.post("/v1/keys", {"openai_api_key": "other"})).status == 200


async def test_second_injection_is_409(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    assert (await gateway.post("/v1/keys", {"evm_payment_address": "0x" + "1" * 40})).status == 200
    for second in ({"openai_api_key": "other"}, {}):
        assert (await gateway.post("/v1/keys", second)).status == 409
    assert gateway.services.keyring.configured() == []


async def test_of_two_injections_at_once_one_is_applied(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    gateway.services.on_injection.append(lambda _: asyncio.sleep(0.05))
    answers = await asyncio.gather(*(gateway.post("/v1/keys", {f"{name}_api_key": "key"}) for name in ("xai", "nous")))
    assert sorted(answer.status for answer in answers) == [200, 409]
    assert len(gateway.services.keyring.configured()) == 1


@pytest.mark.parametrize("body", [{}, {"openai_api_key": None}, {"openai_api_key": "", "facilitator_url": ""}])
async def test_an_injection_that_sets_nothing_leaves_it_open(start_gateway: StartGateway, body: dict[str, Any]) -> None:
    gateway = await start_gateway()
    assert (await gateway.post("/v1/keys", body)).status == 400
    assert (await gateway.post("/v1/keys", KEYS)).status == 200


async def test_keys_of_the_environment_leave_it_open(start_gateway: StartGateway) -> None:
    gateway = await start_gateway({"OPENAI_API_KEY": "from-environment"})
    assert (await gateway.post("/v1/keys", {"openai_api_key": "injected"})).status == 200
    assert gateway.services.keyring.key("openai") == "injected"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"openai_key": "x"}, "openai_key"),
        ({"openai_api_key": 5}, "openai_api_key"),
        ({"openai_api_key": "two words"}, "openai_api_key"),
        ({"openai_api_key": "line\nbreak"}, "openai_api_key"),
        ({"facilitator_url": "http://facilitator.example"}, "facilitator_url"),
        ({"facilitator_url": "https://facilitator.example/" + "p" * 800_000}, "facilitator_url"),
        ({"facilitator_url": "https://facilitator..example"}, "facilitator_url"),
        ({"evm_payment_address": "0x12"}, "evm_payment_address"),
        ({"evm_payment_address": "0x" + "0" * 40}, "evm_payment_address"),
        ({"evm_payment_address": "0x9deEBB5D1b22e4a6e027977CeAd13893A7E4cC1A"}, "evm_payment_address"),
        ({"heartbeat_contract_address": "0x" + "0" * 40}, "heartbeat_contract_address"),
        ({"tee_heartbeat_interval": 0}, "tee_heartbeat_interval"),
        ({"tee_heartbeat_interval": "0"}, "tee_heartbeat_interval"),
        ({"tee_heartbeat_interval": "-5"}, "tee_heartbeat_interval"),
        ({"tee_heartbeat_interval": "15 minutes"}, "tee_heartbeat_interval"),
        ({"tee_heartbeat_buffer": "\u0663"}, "tee_heartbeat_buffer"),
        ({"tee_heartbeat_buffer": "9" * 5000}, "tee_heartbeat_buffer"),
        ({"journal_key": "00" * 31}, "journal_key"),
        ({"journal_key": "A" * 43 + "=!"}, "journal_key"),
        ({"journal_key": "A" * 22 + "=="}, "journal_key"),
        ({"upto_trial_key": "0x" + "00" * 32}, "upto_trial_key"),
        ({"upto_trial_key": "11" * 32}, "upto_trial_key"),
    ],
)
async def test_malformed_injection_changes_nothing(
    start_gateway: StartGateway, body: dict[str, Any], param: str
) -> None:
    gateway = await start_gateway()
    response = await gateway.post("/v1/keys", {"xai_api_key": "good", **body})
    assert response.status == 400
    assert (await response.json())["error"]["param"] == param
    assert gateway.services.keyring.configured() == []
    assert (await gateway.post("/v1/keys", KEYS)).status == 200


async def test_a_journal_key_may_be_in_base64(gateway: RunningGateway) -> None:
    assert (await gateway.post("/v1/keys", {"journal_key": "A" * 43 + "="})).status == 200


async def test_numbers_may_be_strings_and_empty(gateway: RunningGateway) -> None:
    body = {"xai_api_key": "good", "tee_heartbeat_interval": "600", "tee_heartbeat_buffer": ""}
    assert (await gateway.post("/v1/keys", body)).status == 200
    injected = gateway.services.keyring.injected
    assert injected is not None
    assert (injected.tee_heartbeat_interval, injected.tee_heartbeat_buffer) == (600, None)


async def test_keys_are_never_told(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await gateway.post("/v1/keys", KEYS)
    await gateway.post("/v1/keys", {"openai_api_key": "bad key sk-secret-openai"})
    keyring = gateway.services.keyring
    told = caplog.text + repr(keyring) + repr(keyring.injected) + repr(gateway.services.settings)
    assert "secret" not in told
