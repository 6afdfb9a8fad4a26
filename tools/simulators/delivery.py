"""Sends a reply, intact or with the faults of its scenario."""

import asyncio
from dataclasses import dataclass, replace

from aiohttp import web

from tools.simulators.received import ReceivedRequest
from tools.simulators.scenario import DEFAULT, Scenario, split

GARBAGE = b'data: {"cut in the mid\xff\xfe\n\n'
COMMENT = b": keep-alive\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete response of a vendor; `events` are written one by one, a JSON body is a single event."""

    status: int
    headers: tuple[tuple[str, str], ...]
    events: tuple[bytes, ...]
    stream: bool = False
    scenario: Scenario = DEFAULT

    def with_content_faults(self, error: bytes | None, end_marker: bool) -> "Reply":
        """Apply the scenario's faults that change the list of events; `error` is an event that ends the stream.

        `chunk_bytes` splits across event boundaries unless the scenario counts events.
        """
        scenario, events = self.scenario, list(self.events)
        if scenario.omit_end_marker and end_marker:
            events.pop()
        if scenario.garbage_at is not None:
            events.insert(scenario.garbage_at, GARBAGE)
        if scenario.comment_at is not None and self.stream:
            events.insert(scenario.comment_at, COMMENT)
        if error is not None and scenario.error_after is not None:
            events[scenario.error_after :] = [error]
        if scenario.chunk_bytes is not None and not scenario.counts_events:
            events = list(split(b"".join(events), scenario.chunk_bytes))
        return replace(self, events=tuple(events))


class _ConnectionCutError(Exception):
    """The scenario closes the connection here."""


async def deliver(request: web.BaseRequest, reply: Reply, received: ReceivedRequest) -> web.StreamResponse:
    """Write the reply, and count the events written in `received`."""
    if not reply.stream and reply.scenario.immediate:
        received.events_sent = len(reply.events)
        return web.Response(status=reply.status, headers=reply.headers, body=b"".join(reply.events))
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if not reply.stream:
        response.content_length = sum(map(len, reply.events))
    if reply.scenario.immediate:
        await response.prepare(request)
        for event in reply.events:
            await response.write(event)
            received.events_sent += 1
    else:
        try:
            await _deliver_with_faults(request, response, reply, received)
        except _ConnectionCutError:
            if request.transport is not None:
                request.transport.close()
            return response
    await response.write_eof()
    return response


async def _deliver_with_faults(
    request: web.BaseRequest, response: web.StreamResponse, reply: Reply, received: ReceivedRequest
) -> None:
    scenario = reply.scenario
    await asyncio.sleep(scenario.first_byte_delay)
    await response.prepare(request)
    room = scenario.cut_after_bytes
    for number, event in enumerate(reply.events):
        await _before_event(number, scenario)
        sent = event if room is None else event[:room]
        for piece in (sent,) if scenario.chunk_bytes is None else split(sent, scenario.chunk_bytes):
            await response.write(piece)
            await asyncio.sleep(0)
        if room is not None:
            room -= len(event)
            if room <= 0:
                raise _ConnectionCutError
        received.events_sent += 1
    await _before_event(len(reply.events), scenario, last=True)


async def _before_event(number: int, scenario: Scenario, *, last: bool = False) -> None:
    """Cut, stall or wait before an event; numbers beyond the last event apply before the end of the body."""
    if scenario.cut_after is not None and (number == scenario.cut_after or (last and scenario.cut_after > number)):
        raise _ConnectionCutError
    if scenario.stall_after is not None and (
        number == scenario.stall_after or (last and scenario.stall_after > number)
    ):
        if scenario.stall_seconds is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(scenario.stall_seconds)
    if scenario.event_delay and not last:
        await asyncio.sleep(scenario.event_delay)
