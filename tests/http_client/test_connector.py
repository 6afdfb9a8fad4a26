"""Options of the sockets that connections are opened with."""

import socket

from aiohttp import ClientSession

from gateway.http_client.connector import Connector
from tests.upstreams.scripted_server import ScriptedServer, http

UNFINISHED = http(200)[:-1]


async def test_silent_connections_are_probed_before_a_nat_gateway_forgets_them_and_dead_ones_end() -> None:
    async with (
        ScriptedServer([UNFINISHED]) as server,
        ClientSession(connector=Connector()) as session,
        session.get(server.url) as response,
    ):
        assert response.connection is not None
        assert response.connection.transport is not None
        opened = response.connection.transport.get_extra_info("socket")
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, pause, probes, unacknowledged = (
            opened.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        )
        assert idle < 120
        assert idle + pause * probes == unacknowledged / 1000 == 60
