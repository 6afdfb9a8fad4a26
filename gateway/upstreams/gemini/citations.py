"""Where a grounded answer has its facts from, as OpenAI's ``url_citation`` annotations (facts/providers.md 5.7)."""

from collections.abc import Iterator
from typing import Any

from gateway.upstreams.gemini.wire import GroundingMetadata, GroundingSupport


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
            yield _characters(encoded, support.segment.start_index), _characters(encoded, support.segment.end_index)


def _characters(encoded: bytes, offset: int) -> int:
    """The character position of a byte offset."""
    return len(encoded[:offset].decode("utf-8", "ignore"))
