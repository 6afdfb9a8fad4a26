"""Clients of the simulators: plain HTTP, and what the tests with SDKs share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai

from tools.simulators import Fleet, Simulator


@dataclass(frozen=True)
class ChatVendor:
    """An OpenAI-shaped vendor with a model that it serves today."""

    name: str
    model: str
    client: openai.AsyncOpenAI
    simulator: Simulator


CHAT_MODELS = {
    "openai": "gpt-4.1",
    "xai": "grok-4.3",
    "bytedance": "seed-1-8-251228",
    "nous": "nousresearch/hermes-4-70b",
}


DEMANDED: Mapping[str, dict[str, Any]] = {"nous": {"tags": ["user=test"]}}
"""What a vendor wants in every body beyond what the others do."""


class Client(openai.AsyncOpenAI):
    """The SDK, adding the ``demanded`` fields to every body."""

    demanded: Mapping[str, Any] = {}

    async def _prepare_options(self, options: Any) -> Any:
        if isinstance(options.json_data, dict):
            options.json_data = {**self.demanded, **options.json_data}
        return options


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any


@dataclass(frozen=True)
class HttpClient:
    """Plain HTTP to a vendor, with a valid key and the vendor's required headers."""

    fleet: Fleet
    session: aiohttp.ClientSession

    async def post(self, vendor: str, path: str, body: Any, **headers: str) -> Response:
        url = self.fleet.simulators[vendor].base_url + path
        async with self.session.post(url, json=body, headers={**HEADERS[vendor], **headers}) as response:
            data = await response.read()
            parsed = await response.json() if "json" in response.headers["content-type"] else None
            return Response(response.status, response.headers, data, parsed)

    async def chat(self, vendor: str, **fields: Any) -> Response:
        greeting = [{"role": "user", "content": "hi"}]
        body = {"model": CHAT_MODELS[vendor], "messages": greeting, **DEMANDED.get(vendor, {}), **fields}
        return await self.post(vendor, "/chat/completions", body)

    async def messages(self, **fields: Any) -> Response:
        body = {
            "model": "claude-haiku-4-5",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "hi"}],
            **fields,
        }
        return await self.post("anthropic", "/v1/messages", {k: v for k, v in body.items() if v is not None})

    async def generate(self, model: str = "gemini-2.5-flash", **fields: Any) -> Response:
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **fields}
        return await self.post("google", f"/v1beta/models/{model}:generateContent", body)


BEARER = {"Authorization": "Bearer any"}
HEADERS = {
    "openai": BEARER,
    "xai": BEARER,
    "bytedance": BEARER,
    "nous": BEARER,
    "anthropic": {"x-api-key": "any", "anthropic-version": "2023-06-01"},
    "google": {"x-goog-api-key": "any"},
}
