"""Grounding and citation metadata as OpenAI's ``url_citation`` annotations (facts/providers.md 5.7)."""

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.upstreams.gemini.wire import CitationSource, GroundingMetadata, GroundingSupport, Segment


def citations(sources: Iterable[CitationSource], text: str) -> list[dict[str, Any]]:
    """One annotation per range of ``text`` that was recited from a source with a URL; its license is added if known."""
    encoded = text.encode()
    return [
        _annotation(
            source.uri,
            source.title,
            _character_offset(encoded, source.start_index or 0),
            _character_offset(encoded, source.end_index or 0),
            {"license": source.license} if source.license else {},
        )
        for source in sources
        if source.uri
    ]


def annotations(metadata: GroundingMetadata, text: str) -> list[dict[str, Any]]:
    """One annotation per segment of ``text`` that a page supports; a page without segments is cited at 0."""
    pages = metadata.grounding_chunks or []
    segments = [list(_segments(metadata.grounding_supports or [], number, text)) for number in range(len(pages))]
    return [
        _annotation(page.web.uri, page.web.title, start, end, {})
        for page, spans in zip(pages, segments, strict=True)
        if page.web is not None
        for start, end in spans or [(0, 0)]
    ]


def _annotation(url: str | None, title: str | None, start: int, end: int, extra: dict[str, Any]) -> dict[str, Any]:
    citation = {"url": url or "", "title": title or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": citation | extra}


def _segments(supports: list[GroundingSupport], page: int, text: str) -> Iterator[tuple[int, int]]:
    encoded = text.encode()
    for support in supports:
        if support.segment is not None and page in (support.grounding_chunk_indices or ()):
            start, end = _byte_span(encoded, support.segment)
            yield _character_offset(encoded, start), _character_offset(encoded, end)


def _byte_span(encoded: bytes, segment: Segment) -> tuple[int, int]:
    """The byte range of a segment in the whole text: found by its text where its offsets do not match."""
    start, end, quoted = segment.start_index or 0, segment.end_index or 0, (segment.text or "").encode()
    if quoted and encoded[start:end] != quoted:
        for after in (start, 0):
            if (found := encoded.find(quoted, after)) >= 0:
                return found, found + len(quoted)
    return start, end


def _character_offset(encoded: bytes, offset: int) -> int:
    """The character offset of a byte offset."""
    return len(encoded[:offset].decode("utf-8", "ignore"))
