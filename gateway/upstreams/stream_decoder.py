"""The bytes of an event stream to deltas, errors included: no I/O."""

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError, upstream_error
from gateway.upstreams.adapter import Decoder
from gateway.upstreams.sse import EventTooLargeError, SSEReader


class StreamDecoder:
    """One stream. ``failure`` is what broke it, to be raised once the deltas before it have been used.

    ``ended`` says that the vendor's end mark came.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._reader = SSEReader()
        self._decoder = decoder
        self.ended = False
        self.failure: GatewayError | None = None

    def feed(self, chunk: bytes) -> list[Delta]:
        """The deltas that ``chunk`` completes."""
        batch: list[Delta] = []
        try:
            for event in self._reader.feed(chunk):
                batch += self._decoder.feed(event)
                if event.data == b"[DONE]" or event.name == "message_stop":
                    self.ended = True
        except (GatewayError, EventTooLargeError) as error:
            self.failure = _explained(error)
        return batch

    def close(self, *, broke_off: bool) -> list[Delta]:
        """What the end of the connection completes; an event that it cut off counts only as a bare error."""
        batch: list[Delta] = []
        try:
            for event in self._reader.close():
                if event.bare or not broke_off:
                    batch += self._decoder.feed(event)
            batch += self._decoder.finish()
        except (GatewayError, EventTooLargeError) as error:
            self.failure = _explained(error)
        return batch


def _explained(error: GatewayError | EventTooLargeError) -> GatewayError:
    if isinstance(error, GatewayError):
        return error
    return upstream_error("upstream_bad_response", "The upstream sent an event that is too large")
