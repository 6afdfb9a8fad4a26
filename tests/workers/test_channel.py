"""Channels whose other end is closed."""

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
