"""A running gateway under test, and the protocol of the fixture that starts one."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from gateway.billing.payment import Payments
from gateway.listeners import Audience
from gateway.server import GatewayServer
from gateway.services import Services
from gateway.upstreams.transport import Limits
from tools.simulators.fleet import Fleet

CHAT = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]}
"""The body of a request."""
FAST = Limits(first_byte_timeout=20.0, read_timeout=20.0, backoff=0.01, max_retry_after=0.5)
"""Fast to try again; the timeouts are for machines under other load."""


@dataclass
class RunningGateway:
    """A running gateway. ``url`` has no trailing slash."""

    url: str
    services: Services
    session: aiohttp.ClientSession
    server: GatewayServer
    fleet: Fleet | None = field(default=None)

    async def post(self, path: str, body: Any, **options: Any) -> aiohttp.ClientResponse:
        """POST JSON and read the whole body of the response."""
        response = await self.session.post(self.url + path, json=body, **options)
        await response.read()
        return response

    async def chat(self, model: str, text: str, **parameters: Any) -> aiohttp.ClientResponse:
        messages = [{"role": "user", "content": text}]
        return await self.post("/v1/chat/completions", {"model": model, "messages": messages, **parameters})


class StartGateway(Protocol):
    async def __call__(
        self,
        environment: dict[str, str] | None = None,
        *,
        audience: Audience = Audience.LOCAL,
        limits: Limits = FAST,
        payments: Payments | None = None,
    ) -> RunningGateway: ...
