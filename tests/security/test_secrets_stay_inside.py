"""Keys appear in no repr, log line, response or metric, before and after use."""

import gc
import io
import json
import logging
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.identity import Identity
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.telemetry.logs import JsonFormatter
from gateway.workers.channel import Packet
from tests.faults.raw_upstream import answering, http
from tests.running_gateway import RunningGateway, StartGateway
from tools.simulators.fleet import Fleet

FROM_ENVIRONMENT = "sk-from-the-environment-0123456789"
INJECTED = "sk-from-the-injection-0123456789"
PRICE_KEY = "CG-coingecko-0123456789"
JOURNAL_KEY = "5ec4e7" + "0123456789abcdef" * 3 + "abcdef0123"
TRIAL_KEY = "0x" + "7a1e" * 16
PROMPT = "a prompt that is nobody's business"
SECRETS = (FROM_ENVIRONMENT, INJECTED, PRICE_KEY, JOURNAL_KEY, TRIAL_KEY, PROMPT)


def ours(root: object) -> Iterator[object]:
    """Every object of the gateway's own classes reachable from ``root``."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, type | logging.Logger) or type(thing).__name__ == "module":
            continue
        seen.add(id(thing))
        if type(thing).__module__.startswith("gateway"):
            yield thing
        if len(seen) < 200_000:
            pending += gc.get_referents(thing)


@pytest.fixture
async def used(fleet: Fleet, start_gateway: StartGateway) -> RunningGateway:
    """A gateway with keys of both origins that has served a request."""
    environment = {name: value for name, value in fleet.environment().items() if name.endswith("_BASE_URL")}
    gateway = await start_gateway({**environment, "OPENAI_API_KEY": FROM_ENVIRONMENT})
    injection = {
        "anthropic_api_key": INJECTED,
        "coingecko_api_key": PRICE_KEY,
        "journal_key": JOURNAL_KEY,
        "upto_trial_key": TRIAL_KEY,
    }
    assert (await gateway.post("/v1/keys", injection)).status == 200
    for model in ("gpt-4.1", "claude-sonnet-4-5"):
        for stream in (False, True):
            assert (await gateway.chat(model, PROMPT, stream=stream)).status == 200
    gateway.fleet = fleet
    return gateway


async def test_the_keys_were_used(used: RunningGateway) -> None:
    assert used.fleet is not None
    assert used.fleet.openai.requests[-1].headers["Authorization"] == f"Bearer {FROM_ENVIRONMENT}"
    assert used.fleet.anthropic.requests[-1].headers["x-api-key"] == INJECTED


async def test_reprs(used: RunningGateway) -> None:
    things = list(ours(used.services))
    assert {"Services", "Keyring", "Settings", "Upstream", "Transport", "Injection"} <= {
        type(it).__name__ for it in things
    }
    private = used.services.signer._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for thing in things:
        text = repr(thing) + str(thing)
        for secret in (*SECRETS, private[40:80]):
            assert secret not in text, type(thing)


def test_an_identity_does_not_show_its_quote_key(signer: Signer) -> None:
    identity = Identity.generate(signer)
    assert repr(identity.quote_key) not in repr(identity)


def test_a_packet_to_the_workers_does_not_show_what_it_carries() -> None:
    assert INJECTED not in repr(Packet("inject", 7, {"openai_api_key": INJECTED}))


async def test_answers(used: RunningGateway) -> None:
    for path in (
        "/health",
        "/health/ready",
        "/metrics",
        "/openapi.json",
        "/signing-key",
        "/v1/models",
        "/heartbeat/status",
    ):
        async with used.session.get(used.url + path) as response:
            text = await response.text() + str(response.headers)
        assert not any(secret in text for secret in SECRETS), path
    again = await used.post("/v1/keys", {"anthropic_api_key": INJECTED})
    assert again.status == 409
    assert INJECTED not in await again.text()


@pytest.mark.parametrize("key", ["has blanks in it 0123456789", "has\r\nlines", "naïve", "x" * 5000])
async def test_a_refused_key_is_not_quoted(start_gateway: StartGateway, key: str) -> None:
    gateway = await start_gateway({})
    response = await gateway.post("/v1/keys", {"openai_api_key": key})
    assert response.status == 400
    assert key[:12] not in await response.text()


async def test_a_key_of_the_wrong_type_is_not_quoted(start_gateway: StartGateway) -> None:
    gateway = await start_gateway({})
    for wrong in ([INJECTED], {INJECTED: 1}):
        response = await gateway.post("/v1/keys", {"openai_api_key": wrong})
        assert response.status == 400
        assert INJECTED not in await response.text()


def test_a_setting_that_cannot_be_used_is_not_quoted(catalog: object) -> None:
    from gateway.catalog import Catalog

    assert isinstance(catalog, Catalog)
    with pytest.raises(Exception, match="OPENAI_API_KEY") as caught:
        Settings.from_environment({"OPENAI_API_KEY": "has blanks in it"}, catalog.providers, enclave=False)
    assert "has blanks" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_a_vendor_that_quotes_our_key(start_gateway: StartGateway, status: int) -> None:
    body = f'{{"error":{{"message":"Incorrect API key provided: {FROM_ENVIRONMENT}. (auth)","type":"x","code":"x"}}}}'
    async with answering(http(status, body.encode())) as url:
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": FROM_ENVIRONMENT})
        response = await gateway.chat("gpt-4.1", PROMPT)
    assert response.status >= 400
    assert FROM_ENVIRONMENT not in await response.text()


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("variable", "model", "key"),
    [
        ("OPENAI", "gpt-4.1", "sk-proj-0123456789abcdef"),
        ("ANTHROPIC", "claude-sonnet-4-5", "sk-ant-0123456789abcdef"),
        ("GOOGLE", "gemini-2.5-flash", "AIzaSy-0123456789abcdef"),
        ("XAI", "grok-3", "xai-0123456789abcdef"),
        ("ARK", "seed-1.6", "01234567-89ab-cdef-0123-456789abcdef"),
        ("NOUS", "hermes-4-70b", "0123456789abcdef0123"),
    ],
)
async def test_a_vendor_that_quotes_our_key_in_a_message_about_the_request(
    start_gateway: StartGateway, variable: str, model: str, key: str, status: int
) -> None:
    """Vendors' messages about a request are passed on, and each has keys of another format."""
    error = {"message": f"Rejected for key {key}.", "type": "invalid_request_error", "code": 400}
    async with answering(http(status, json.dumps({"type": "error", "error": error}).encode())) as url:
        gateway = await start_gateway({f"{variable}_BASE_URL": url, f"{variable}_API_KEY": key})
        response = await gateway.chat(model, PROMPT)
    assert (response.status, key in await response.text()) == (400, False)
    assert "Rejected for key" in await response.text()


async def test_a_crash_with_keys_in_hand(used: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither log nor response shows the locals of a failing frame."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)

    def crash(self: object, key: str) -> dict[str, str]:
        raise ValueError(f"could not use {key}")

    adapter = used.services.upstreams["openai"]._adapters["chat"]
    monkeypatch.setattr(type(adapter), "auth_headers", crash)
    try:
        response = await used.chat("gpt-4.1", PROMPT)
    finally:
        logging.getLogger().removeHandler(handler)
    assert response.status == 500
    told = stream.getvalue() + await response.text()
    assert "ValueError" in told
    assert not any(secret in told for secret in SECRETS)
