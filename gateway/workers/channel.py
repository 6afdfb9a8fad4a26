"""Packets between the supervisor and a worker: small JSON messages, one of which may carry a connection."""

import errno
import socket
from typing import Any

import msgspec

MAX_PACKET_BYTES = 512 * 1024
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})
"""Errors of calls that lack descriptors or the kernel's memory for a while."""


class Packet(msgspec.Struct, omit_defaults=True):
    """One message. ``op`` is its kind; a call and its reply share a ``number``."""

    op: str
    number: int = 0
    body: Any = None

    def __repr__(self) -> str:
        """Omits the body, which may be an injection: asyncio's debug mode logs the arguments of slow callbacks."""
        return f"<Packet {self.op} {self.number}>"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Packet).decode


class ChannelClosedError(Exception):
    """The other end of the channel is closed."""


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of non-blocking sockets that preserve message boundaries."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PACKET_BYTES)
    return ends


def send(end: socket.socket, packet: Packet, connection: socket.socket | None = None) -> bool:
    """Send a packet; False if the socket buffer is full or memory is short. Raises ChannelClosedError."""
    try:
        if connection is None:
            end.send(_encode(packet))
        else:
            socket.send_fds(end, [_encode(packet)], [connection.fileno()])
    except OSError as error:
        _check_passing(error)
        return False
    return True


def receive(end: socket.socket) -> tuple[Packet, socket.socket | None] | None:
    """The next packet, and the connection passed with it if any; None if there is none now, or memory is short.

    Raises ChannelClosedError.
    """
    try:
        data, descriptors, _, _ = socket.recv_fds(end, MAX_PACKET_BYTES, 1)
    except OSError as error:
        _check_passing(error)
        return None
    if not data:
        raise ChannelClosedError
    return _decode(data), socket.socket(fileno=descriptors[0]) if descriptors else None


def _check_passing(error: OSError) -> None:
    """Raises ChannelClosedError unless the call can be repeated."""
    if not isinstance(error, BlockingIOError) and error.errno not in SHORTAGES:
        raise ChannelClosedError from None
