"""Channels whose other end is closed, and those of a system that is short of memory."""

import errno
import os
import socket
from typing import Any, cast

import pytest

from gateway.workers.channel import ChannelClosedError, Packet, channel_pair, receive, send


@pytest.mark.parametrize("unread", [0, 1])
def test_a_closed_end_is_noticed_by_the_other(unread: int) -> None:
    """Packets that were not read make it a reset."""
    ours, theirs = channel_pair()
    with ours:
        for _ in range(unread):
            assert send(ours, Packet("ping"))
        assert receive(ours) is None
        theirs.close()
        with pytest.raises(ChannelClosedError):
            receive(ours)
        with pytest.raises(ChannelClosedError):
            send(ours, Packet("ping"))


class _ShortOnce:
    """A socket whose first call of each kind fails with ``number``."""

    def __init__(self, end: socket.socket, number: int) -> None:
        self._end = end
        self._errors = {name: OSError(number, os.strerror(number)) for name in ("send", "sendmsg", "recvmsg")}

    def __getattr__(self, name: str) -> Any:
        if (error := self._errors.pop(name, None)) is not None:
            raise error
        return getattr(self._end, name)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS])
def test_a_channel_outlasts_a_shortage(number: int) -> None:
    """A worker was taken for gone, and got no more connections, nor was it replaced."""
    ours, theirs = channel_pair()
    with ours, theirs, socket.socket() as connection:
        short = cast("socket.socket", _ShortOnce(ours, number))
        assert not send(short, Packet("ping"))
        assert send(short, Packet("ping"))
        assert not send(short, Packet("connection"), connection)
        assert send(short, Packet("connection"), connection)
        assert send(theirs, Packet("ready"))
        assert receive(short) is None
        received = receive(short)
        assert received is not None
        assert received[0].op == "ready"
