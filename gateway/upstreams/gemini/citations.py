"""Grounding metadata as OpenAI's ``url_citation`` annotations (facts/providers.md 5.7)."""

from collections.abc import Iterator
from typing import Any

from gateway.upstreams.gemini.wire import GroundingMetadata, GroundingSupport, Segment


def annotations(metadata: GroundingMetadata, text: str) -> list[dict[str, Any]]:
    """One annotation per segment of ``text`` that a page supports; a page without segments is cited at 0."""
    pages = metadata.grounding_chunks or []
    segments = [list(_segments(metadata.grounding_supports or [], number, text)) for number in range(len(pages))]
    return [
        {
            "type": "url_citation",
            "url_citation": {"url": page.web.uri, "title": page.web.title, "start_index": start, "end_index": end},
        }
        for page, spans in zip(pages, segments, strict=True)
        if page.web is not None
        for start, end in spans or [(0, 0)]
    ]


def _segments(supports: list[GroundingSupport], page: int, text: str) -> Iterator[tuple[int, int]]:
    encoded = text.encode()
    for support in supports:
        if support.segment is not None and page in (support.grounding_chunk_indices or ()):
            start, end = _byte_span(encoded, support.segment)
            yield _character_offset(encoded, start), _character_offset(encoded, end)


def _byte_span(encoded: bytes, segment: Segment) -> tuple[int, int]:
    """The byte range of a segment in the whole text: found by its text where its offsets do not match."""
    start, end, quoted = segment.start_index, segment.end_index, segment.text.encode()
    if quoted and encoded[start:end] != quoted:
        for after in (start, 0):
            if (found := encoded.find(quoted, after)) >= 0:
                return found, found + len(quoted)
    return start, end


def _character_offset(encoded: bytes, offset: int) -> int:
    """The character offset of a byte offset."""
    return len(encoded[:offset].decode("utf-8", "ignore"))
