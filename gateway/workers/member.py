"""A gateway of several processes, as one of them sees it."""

import asyncio
from typing import Any

import msgspec

from gateway.keyring import Injection, already_injected
from gateway.services import Services
from gateway.workers.link import Link
from gateway.workers.metrics import dump, render


class Member:
    """Implements Collective by asking the supervisor, and answers for this process when others ask."""

    def __init__(self, services: Services, link: Link) -> None:
        self._services = services
        self._link = link
        link.handlers["injected"] = self._take
        link.handlers["metrics"] = self._dump
        link.handlers["lead"] = self._lead
        link.handlers["lead_status"] = self._status

    async def inject(self, injection: Injection) -> None:
        """This worker takes it first; what it accepts the others accept, since all are the same code with the same
        facts. A client that leaves does not stop it half-way."""
        await asyncio.shield(self._inject(injection))

    async def _inject(self, injection: Injection) -> None:
        if not await self._link.call("may_inject"):
            raise already_injected()
        try:
            await self._services.take(injection)
        except BaseException:
            await self._link.call("refused")
            raise
        await self._link.call("inject", _fields(injection))

    async def metrics(self) -> bytes:
        return render(await self._link.call("metrics"))

    async def heartbeat(self) -> dict[str, Any]:
        status: dict[str, Any] = await self._link.call("leader") or self._services.heartbeat.status()
        return status

    async def _take(self, body: Any) -> None:
        await take(self._services, body)

    async def _dump(self, body: Any) -> Any:
        self._services.measure()
        return dump(self._services.metrics.registry)

    async def _lead(self, body: Any) -> None:
        self._services.lead()

    async def _status(self, body: Any) -> dict[str, Any]:
        return self._services.heartbeat.status()


async def take(services: Services, body: Any) -> None:
    """Take an injection that another worker checked; a worker that cannot is of no use and must end."""
    try:
        await services.take(msgspec.convert(body, services.keyring.injection_type))
    except Exception as error:
        raise SystemExit("the injection could not be taken") from error


def _fields(injection: Injection) -> dict[str, Any]:
    return {name: value for name in injection.__struct_fields__ if (value := getattr(injection, name)) is not None}
