"""Fast path for the chunks of one stream that differ in nothing but their text.

Vendors repeat two hundred bytes around every token. Once a chunk has been decoded in full, a chunk with the same bytes
before and after its text needs only that JSON string decoded: whatever string stands there changes nothing else.
"""

import re
from collections.abc import Callable

import msgspec

_CONTENT = re.compile(rb'"content":\s*("(?:[^"\\]|\\.)*")')
_decode_text = msgspec.json.Decoder(str).decode


class ChunkTemplate:
    """The bytes before and after the text of a chunk."""

    __slots__ = ("_after", "_before", "_end", "_start")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self._start = len(before)
        self._end = -len(after)

    @classmethod
    def from_chunk(cls, chunk: bytes, text: str, text_of: Callable[[bytes], str | None]) -> "ChunkTemplate | None":
        """The template of ``chunk``, which decodes to ``text``; None when its text cannot be located.

        ``text_of`` decodes a chunk in full and returns its text, or None when it holds anything else. It is called
        with another text in place, because ``"content"`` may be the name of more than one key.
        """
        found = _CONTENT.search(chunk)
        if found is None:
            return None
        before, after, other = chunk[: found.start(1)], chunk[found.end(1) :], text + "?"
        if text_of(before + msgspec.json.encode(other) + after) != other:
            return None
        return cls(before, after)

    def text(self, chunk: bytes) -> str | None:
        """The text of ``chunk``; None when it does not match the template."""
        if chunk.startswith(self._before) and chunk.endswith(self._after):
            try:
                return _decode_text(chunk[self._start : self._end])
            except ValueError:
                return None
        return None
