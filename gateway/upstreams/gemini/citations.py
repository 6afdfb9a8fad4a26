"""Where a grounded answer has its facts from, as OpenAI's ``url_citation`` annotations (facts/providers.md 5.7)."""

from collections.abc import Iterator
from typing import Any

from gateway.upstreams.gemini.wire import GroundingMetadata, GroundingSupport, Segment


def annotations(metadata: GroundingMetadata, text: str) -> list[dict[str, Any]]:
    """One annotation for every stretch of ``text`` that a page supports; a page that supports none is cited at 0."""
    pages = metadata.grounding_chunks or []
    places = [list(_places(metadata.grounding_supports or [], number, text)) for number in range(len(pages))]
    return [
        {
            "type": "url_citation",
            "url_citation": {"url": page.web.uri, "title": page.web.title, "start_index": start, "end_index": end},
        }
        for page, stretches in zip(pages, places, strict=True)
        if page.web is not None
        for start, end in stretches or [(0, 0)]
    ]


def _places(supports: list[GroundingSupport], page: int, text: str) -> Iterator[tuple[int, int]]:
    encoded = text.encode()
    for support in supports:
        if support.segment is not None and page in (support.grounding_chunk_indices or ()):
            start, end = _bytes(encoded, support.segment)
            yield _characters(encoded, start), _characters(encoded, end)


def _bytes(encoded: bytes, segment: Segment) -> tuple[int, int]:
    """Where a segment lies in the whole answer: where its words are, should they not be where it says."""
    start, end, said = segment.start_index, segment.end_index, segment.text.encode()
    if said and encoded[start:end] != said:
        for after in (start, 0):
            if (found := encoded.find(said, after)) >= 0:
                return found, found + len(said)
    return start, end


def _characters(encoded: bytes, offset: int) -> int:
    """The character position of a byte offset."""
    return len(encoded[:offset].decode("utf-8", "ignore"))
