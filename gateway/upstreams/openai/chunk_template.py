"""Chunks of one stream that differ from an earlier one in nothing but their text.

Vendors repeat two hundred bytes around every word. Once a chunk has been read in full, those that begin and end with
the same bytes need only their text read: at its place stands a JSON string, and which one changes nothing else.
"""

import re
from collections.abc import Callable

import msgspec

_CONTENT = re.compile(rb'"content":\s*("(?:[^"\\]|\\.)*")')
_decode_text = msgspec.json.Decoder(str).decode


class LikeChunks:
    """What stands before and after the text."""

    __slots__ = ("_after", "_before", "_end", "_start")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self._start = len(before)
        self._end = -len(after)

    @classmethod
    def like(cls, chunk: bytes, text: str, read: Callable[[bytes], str | None]) -> "LikeChunks | None":
        """Chunks like ``chunk``, which holds ``text``; None when that cannot be told.

        ``read`` tells the text of a chunk that is nothing else. It is asked about one with another text, because
        ``"content"`` may be the name of more than one thing.
        """
        found = _CONTENT.search(chunk)
        if found is None:
            return None
        before, after, other = chunk[: found.start(1)], chunk[found.end(1) :], text + "?"
        if read(before + msgspec.json.encode(other) + after) != other:
            return None
        return cls(before, after)

    def text(self, chunk: bytes) -> str | None:
        """The text of ``chunk``; None when it is not like the others."""
        if chunk.startswith(self._before) and chunk.endswith(self._after):
            try:
                return _decode_text(chunk[self._start : self._end])
            except ValueError:
                return None
        return None
