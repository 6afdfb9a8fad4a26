"""The facilitator's switches over HTTP.

| request | effect |
|---|---|
| `PUT /control/faults/{endpoint}?times=N` | a JSON list of faults (faults.py) for the next N calls, or until cleared |
| `DELETE /control/faults` | all faults cleared |
| `PUT /control/jobs` | a JobMode turns 202 answers on, `null` turns them off |
| `GET /control/calls` | what was called, in order: endpoint, body, status, answer |
| `DELETE /control/calls` | forgotten |
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, get_args

import msgspec
from aiohttp import web

from tools.chain.faults import Endpoint, Fault, JobMode

if TYPE_CHECKING:
    from tools.chain.facilitator import LocalFacilitator

ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)

Handler = Callable[[web.Request], Awaitable[web.Response]]


def routes(facilitator: "LocalFacilitator") -> list[web.RouteDef]:
    async def set_faults(request: web.Request) -> web.Response:
        endpoint = next((each for each in ENDPOINTS if each == request.match_info["endpoint"]), None)
        if endpoint is None:
            raise ValueError(f"no endpoint {request.match_info['endpoint']!r}; there are {', '.join(ENDPOINTS)}")
        faults = msgspec.json.decode(await request.read(), type=list[Fault])
        times = request.query.get("times")
        facilitator.faults.set(endpoint, *faults, times=None if times is None else int(times))
        return web.Response(status=204)

    async def clear_faults(_request: web.Request) -> web.Response:
        facilitator.faults.clear()
        return web.Response(status=204)

    async def set_jobs(request: web.Request) -> web.Response:
        facilitator.jobs = msgspec.json.decode(await request.read(), type=JobMode | None)
        return web.Response(status=204)

    async def get_calls(_request: web.Request) -> web.Response:
        fields = ("endpoint", "body", "status", "answer")
        return web.json_response([{name: getattr(call, name) for name in fields} for call in facilitator.calls])

    async def clear_calls(_request: web.Request) -> web.Response:
        facilitator.calls.clear()
        return web.Response(status=204)

    return [
        web.put("/control/faults/{endpoint}", _refusing(set_faults)),
        web.delete("/control/faults", clear_faults),
        web.put("/control/jobs", _refusing(set_jobs)),
        web.get("/control/calls", get_calls),
        web.delete("/control/calls", clear_calls),
    ]


def _refusing(handler: Handler) -> Handler:
    """Bad input is answered 400 with what is wrong."""

    async def handle(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle
