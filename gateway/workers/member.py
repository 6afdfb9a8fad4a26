"""One worker's implementation of the cluster operations."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.keyring import Injection, already_injected
from gateway.services import Services
from gateway.workers.link import SupervisorLink
from gateway.workers.metrics import render, snapshot

_MAX_SHARED_BYTES = 128 * 1024
"""Largest cached value that is sent to the other workers. Thoughts of 30,000 tokens fit; signatures of images do not,
but clients that drop those drop the images as well."""
_MAX_SHARED_KEYS = 1024
"""In one packet."""


class ClusterMember:
    """Implements Cluster by calls to the supervisor, and handles its calls to this worker.

    The workers share the signatures that they cache, since a client's next request may reach any of them.
    """

    def __init__(self, services: Services, link: SupervisorLink) -> None:
        self._services = services
        self._link = link
        link.handlers["injected"] = self._apply
        link.handlers["metrics"] = self._snapshot
        link.handlers["lead"] = self._lead
        link.handlers["lead_status"] = self._status
        link.handlers["signature"] = self._keep_signature
        services.signatures.share = self._share_signature

    async def inject(self, injection: Injection) -> None:
        """Apply it in this worker first: what it accepts the others accept, since code and settings are the same."""
        if not await self._link.call("may_inject"):
            raise already_injected()
        try:
            await self._services.inject(injection)
        except BaseException:
            await self._link.call("refused")
            raise
        await self._link.call("inject", _fields(injection))

    async def metrics(self) -> bytes:
        return render(await self._link.call("metrics"))

    async def heartbeat(self) -> dict[str, Any]:
        status: dict[str, Any] = await self._link.call("leader") or self._services.heartbeat.status()
        return status

    def _share_signature(self, keys: Sequence[bytes], value: bytes) -> None:
        if len(value) <= _MAX_SHARED_BYTES:
            for start in range(0, len(keys), _MAX_SHARED_KEYS):
                some = [key.hex() for key in keys[start : start + _MAX_SHARED_KEYS]]
                self._link.publish("signature", {"keys": some, "value": msgspec.Raw(value)})

    async def _keep_signature(self, body: Any) -> None:
        self._services.signatures.put_shared([bytes.fromhex(key) for key in body["keys"]], body["value"])

    async def _apply(self, body: Any) -> None:
        await apply_injection(self._services, body)

    async def _snapshot(self, body: Any) -> Any:
        self._services.update_gauges()
        return snapshot(self._services.metrics.registry)

    async def _lead(self, body: Any) -> None:
        self._services.become_leader()

    async def _status(self, body: Any) -> dict[str, Any]:
        return self._services.heartbeat.status()


async def apply_injection(services: Services, body: Any) -> None:
    """Apply an injection that another worker has accepted; a worker that fails to must exit."""
    try:
        await services.inject(msgspec.convert(body, services.keyring.injection_type))
    except Exception as error:
        raise SystemExit("the injection could not be applied") from error


def _fields(injection: Injection) -> dict[str, Any]:
    return {name: value for name in injection.__struct_fields__ if (value := getattr(injection, name)) is not None}
