"""What a decoder makes of an event stream, and answers put together from their deltas."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta
from gateway.upstreams.adapter import Decoder
from gateway.upstreams.sse import SSEReader


def read_stream(decoder: Decoder, body: bytes, cuts: Iterable[int] = ()) -> Iterator[Delta]:
    """The deltas of an event stream that arrives in pieces, split at ``cuts``."""
    reader = SSEReader()
    for start, end in pairwise([0, *sorted(cuts), len(body)]):
        for event in reader.feed(body[start:end]):
            yield from decoder.feed(event)
    for event in reader.close():
        yield from decoder.feed(event)
    yield from decoder.finish()


def put_together(deltas: Iterable[Delta]) -> Assembler:
    assembler = Assembler()
    assembler.extend(deltas)
    return assembler
