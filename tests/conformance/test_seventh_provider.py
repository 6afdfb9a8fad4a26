"""Add a seventh provider by the three steps of docs/adding-a-provider.md."""

import json
import re
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gateway import composition
from gateway.catalog import Catalog, load
from gateway.upstreams.openai import dialects
from gateway.upstreams.openai.adapter import OpenAIAdapter
from gateway.upstreams.registry import adapters
from tests.running_gateway import RunningGateway, StartGateway
from tools.simulators import Scenario, Simulator
from tools.simulators.chat_completions.nous import Nous
from tools.simulators.chat_completions.vendor import Model
from tools.verify.claims import Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import load_signing_key

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-provider.md").read_text(encoding="utf-8")
TABLES, DIALECT, LINE = re.findall(r"```(?:toml|python)\n(.*?)```", PAGE, re.DOTALL)
HELLO = [{"role": "user", "content": "Hello there"}]


class Example(Nous):
    """An OpenAI-shaped vendor unknown to the gateway."""

    name = "example"
    models: ClassVar = {"example/large-2026-11": Model(name="example/large-2026-11", context=131_072)}
    request_keys = Nous.request_keys | {"seed"}
    wants_tags = False


@pytest.fixture
async def example() -> AsyncIterator[Simulator]:
    simulator = Simulator(Example())
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
def catalog() -> Catalog:
    """The shipped catalogue and the page's tables."""
    shipped = resources.files("gateway").joinpath("catalog.toml").read_text(encoding="utf-8")
    return load(shipped + TABLES)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, catalog: Catalog) -> None:
    """The page's dialect and its entry in the registry."""
    names: dict[str, Any] = vars(dialects) | {"OpenAIAdapter": OpenAIAdapter}
    exec(DIALECT, names)  # noqa: S102 - the page is ours
    line = eval("{" + LINE + "}", names)  # noqa: S307
    monkeypatch.setattr(composition, "adapters", lambda signatures: {**adapters(signatures), **line})
    monkeypatch.setattr(composition, "bundled", lambda: catalog)


async def check(running: RunningGateway, example: Simulator, *, stream: bool) -> None:
    example.enqueue(Scenario(text="Hello yourself.", prompt_tokens=100, completion_tokens=10))
    request = {"model": "example-large", "messages": HELLO, "stream": stream, "seed": 7, "user": "someone"}
    response = await running.post("/v1/chat/completions", request)
    assert response.status == 200, await response.text()
    assert response.headers["x-dropped-params"] == "user"
    key = load_signing_key(running.services.signer.public_pem.encode())
    assert {claim.verdict for claim in verify_response(key, request, await response.read())} == {Verdict.PASS}
    sent = example.requests[-1].json
    assert (sent["model"], sent["seed"]) == ("example/large-2026-11", 7)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_it_answers(start_gateway: StartGateway, example: Simulator, stream: bool) -> None:
    running = await start_gateway({"EXAMPLE_BASE_URL": example.base_url, "EXAMPLE_API_KEY": "k"})
    await check(running, example, stream=stream)
    refused = await running.chat("example-large", "Hi", logprobs=True)
    assert (refused.status, (await refused.json())["error"]["param"]) == (400, "logprobs")


@pytest.mark.usefixtures("registered")
async def test_its_key_can_be_injected(start_gateway: StartGateway, example: Simulator) -> None:
    running = await start_gateway({"EXAMPLE_BASE_URL": example.base_url})
    assert (await running.chat("example-large", "Hi")).status == 503
    injected = await running.post("/v1/keys", {"example_api_key": "sk-injected"})
    assert json.loads(await injected.read())["providers_initialized"] == ["example"]
    await check(running, example, stream=False)
    assert example.requests[-1].headers["Authorization"] == "Bearer sk-injected"


@pytest.mark.usefixtures("registered")
async def test_it_is_listed(start_gateway: StartGateway) -> None:
    running = await start_gateway({"EXAMPLE_API_KEY": "k"})
    async with running.session.get(running.url + "/v1/models/example-large") as response:
        listed = await response.json()
    assert (listed["provider"], listed["pricing"]["output"]) == ("example", "1.50")
    async with running.session.get(running.url + "/health") as response:
        assert (await response.json())["providers"] == ["example"]
