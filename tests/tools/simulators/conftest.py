"""Simulators, and clients of the vendors' own SDKs for them."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import anthropic
import pytest
from google import genai

from tests.tools.simulators.clients import CHAT_MODELS, DEMANDED, ChatVendor, Client, HttpClient
from tools.simulators import Fleet


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with Fleet() as fleet:
        yield fleet


@pytest.fixture(params=list(CHAT_MODELS))
async def chat(fleet: Fleet, request: pytest.FixtureRequest) -> AsyncIterator[ChatVendor]:
    simulator = fleet.simulators[request.param]
    async with Client(base_url=simulator.base_url, api_key="any", max_retries=0) as client:
        client.demanded = DEMANDED.get(request.param, {})
        yield ChatVendor(request.param, CHAT_MODELS[request.param], client, simulator)


@pytest.fixture
async def claude(fleet: Fleet) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=fleet.anthropic.base_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def gemini(fleet: Fleet) -> AsyncIterator[Any]:
    client = genai.Client(api_key="any", http_options=genai.types.HttpOptions(base_url=fleet.google.base_url))
    yield client.aio
    await client.aio.aclose()
    client.close()


@pytest.fixture
async def http(fleet: Fleet) -> AsyncIterator[HttpClient]:
    async with aiohttp.ClientSession() as session:
        yield HttpClient(fleet, session)


@pytest.fixture
def weather() -> Callable[[str], list[dict[str, Any]]]:
    """The tools `get_weather(city)` and `now()` in a vendor's format."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

    def declare(vendor: str) -> list[dict[str, Any]]:
        empty = {"type": "object", "properties": {}}
        if vendor == "anthropic":
            return [{"name": "get_weather", "input_schema": schema}, {"name": "now", "input_schema": empty}]
        if vendor == "google":
            return [
                {"functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": schema}, {"name": "now"}]}
            ]
        return [
            {"type": "function", "function": {"name": "get_weather", "parameters": schema}},
            {"type": "function", "function": {"name": "now", "parameters": empty}},
        ]

    return declare
