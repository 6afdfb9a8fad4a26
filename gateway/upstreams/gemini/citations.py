"""Grounding and citation metadata as OpenAI's ``url_citation`` annotations (facts/providers.md 5.7)."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from gateway.upstreams.gemini.wire import CitationSource, GroundingMetadata, GroundingSupport, Segment

_STRETCH = 1024
"""Characters."""


def citations(sources: Iterable[CitationSource], text: str) -> list[dict[str, Any]]:
    """One annotation per range of ``text`` that was recited from a source with a URL; its license is added if known."""
    offsets = _Offsets(text)
    return [
        _annotation(
            source.uri,
            source.title,
            offsets.character(source.start_index or 0),
            offsets.character(source.end_index or 0),
            {"license": source.license} if source.license else {},
        )
        for source in sources
        if source.uri
    ]


def annotations(metadata: GroundingMetadata, text: str) -> list[dict[str, Any]]:
    """One annotation per segment of ``text`` that a page supports; a page without segments is cited at 0."""
    pages = metadata.grounding_chunks or []
    segments = _segments(metadata.grounding_supports or [], text)
    return [
        _annotation(page.web.uri, page.web.title, start, end, {})
        for page, spans in ((page, segments.get(number)) for number, page in enumerate(pages))
        if page.web is not None
        for start, end in spans or [(0, 0)]
    ]


def _annotation(url: str | None, title: str | None, start: int, end: int, extra: dict[str, Any]) -> dict[str, Any]:
    citation = {"url": url or "", "title": title or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": citation | extra}


def _segments(supports: list[GroundingSupport], text: str) -> dict[int, list[tuple[int, int]]]:
    """The segments that each page supports, in characters, by the number of the page."""
    offsets = _Offsets(text)
    segments: dict[int, list[tuple[int, int]]] = {}
    for support in supports:
        if support.segment is not None and support.grounding_chunk_indices:
            start, end = _byte_span(offsets.encoded, support.segment)
            span = offsets.character(start), offsets.character(end)
            for page in dict.fromkeys(support.grounding_chunk_indices):
                segments.setdefault(page, []).append(span)
    return segments


def _byte_span(encoded: bytes, segment: Segment) -> tuple[int, int]:
    """The byte range of a segment in the whole text: found by its text where its offsets do not match."""
    start, end, quoted = segment.start_index or 0, segment.end_index or 0, (segment.text or "").encode()
    if quoted and encoded[start:end] != quoted:
        for after in (start, 0):
            if (found := encoded.find(quoted, after)) >= 0:
                return found, found + len(quoted)
    return start, end


class _Offsets:
    """The character offsets of byte offsets in one text, each counted from the beginning of a stretch of it."""

    def __init__(self, text: str) -> None:
        stretches = [text[start : start + _STRETCH].encode() for start in range(0, len(text), _STRETCH)]
        self.encoded = b"".join(stretches)
        self._starts = list(accumulate(map(len, stretches[:-1]), initial=0))

    def character(self, offset: int) -> int:
        stretch = max(0, bisect_right(self._starts, offset) - 1)
        return stretch * _STRETCH + len(self.encoded[self._starts[stretch] : offset].decode("utf-8", "ignore"))
