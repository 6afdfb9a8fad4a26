"""Decodes the bytes of an event stream into deltas; no I/O."""

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Decoder
from gateway.upstreams.sse import SSEReader


class StreamDecoder:
    """One stream.

    ``failure`` is the error that ended it, kept aside so that the deltas decoded before it can be consumed first.
    ``ended`` is true once the vendor's end-of-stream marker has arrived.
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
        except GatewayError as error:
            self.failure = error
        return batch

    def close(self, *, truncated: bool) -> list[Delta]:
        """The deltas that the end of the body completes.

        With ``truncated`` the connection broke: an unterminated event is discarded unless it is a bare JSON error.
        """
        batch: list[Delta] = []
        try:
            for event in self._reader.close():
                if event.bare or not truncated:
                    batch += self._decoder.feed(event)
            batch += self._decoder.finish()
        except GatewayError as error:
            self.failure = error
        return batch
