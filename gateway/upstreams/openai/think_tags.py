"""``<think>…</think>`` at the start of a response, parsed while it streams (facts/providers.md 8)."""

from collections.abc import Iterator

from gateway.openai_api.deltas import Reasoning, Text

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkTagParser:
    """Splits one choice's text into reasoning and content. Text that does not begin with the tag passes unchanged."""

    def __init__(self, choice: int = 0) -> None:
        self._choice = choice
        self._buffer = ""
        self._blanks: list[str] = []
        """What precedes the buffer while it is uncertain whether the text begins with the tag."""
        self._state = "start"

    def feed(self, text: str) -> Iterator[Text | Reasoning]:
        """The deltas of the next piece of text; what may be the start of a tag is buffered."""
        self._buffer += text
        if self._state == "start":
            self._detect_opening()
        if self._state == "reasoning":
            yield from self._reasoning()
        if self._state in ("gap", "content"):
            yield from self._content()

    def finish(self) -> Iterator[Text | Reasoning]:
        """What is still buffered at the end of the response."""
        rest, self._buffer = "".join(self._blanks) + self._buffer, ""
        if rest:
            yield Reasoning(text=rest, choice=self._choice) if self._state == "reasoning" else Text(rest, self._choice)

    def _detect_opening(self) -> None:
        """Leave state ``start`` once it is certain whether the text begins with the tag."""
        head = self._buffer.lstrip()
        self._blanks.append(self._buffer[: len(self._buffer) - len(head)])
        if _OPEN.startswith(head) and head != _OPEN:
            self._buffer = head
            return
        if head.startswith(_OPEN):
            self._state, self._buffer = "reasoning", head[len(_OPEN) :]
        else:
            self._state, self._buffer = "content", "".join(self._blanks) + head
        self._blanks.clear()

    def _reasoning(self) -> Iterator[Reasoning]:
        reasoning, tag, content = self._buffer.partition(_CLOSE)
        if tag:
            self._state = "gap"
            self._buffer = content
        else:
            keep = _overlap(reasoning, _CLOSE)
            self._buffer = reasoning[len(reasoning) - keep :]
            reasoning = reasoning[: len(reasoning) - keep]
        if reasoning:
            yield Reasoning(text=reasoning, choice=self._choice)

    def _content(self) -> Iterator[Text]:
        """The buffered content; line breaks between reasoning and content belong to neither."""
        content, self._buffer = self._buffer, ""
        if self._state == "gap":
            content = content.lstrip("\n")
        if content:
            self._state = "content"
            yield Text(content, self._choice)


def _overlap(text: str, tag: str) -> int:
    """Length of the longest proper prefix of ``tag`` that ``text`` ends with."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if tag.startswith(text[-size:])), 0)
