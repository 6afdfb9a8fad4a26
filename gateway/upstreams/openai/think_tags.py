"""``<think>…</think>`` at the head of an answer, taken apart while it streams (facts/providers.md 8)."""

from collections.abc import Iterator

from gateway.openai_api.deltas import Reasoning, Text

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkTags:
    """Splits one choice's text into thought and answer. Text that does not begin with the tag passes unchanged."""

    def __init__(self, choice: int = 0) -> None:
        self._choice = choice
        self._held = ""
        self._state = "start"

    def feed(self, text: str) -> Iterator[Text | Reasoning]:
        """The deltas of the next piece of text; what may still become a tag is held back."""
        self._held += text
        if self._state == "start" and not self._decide():
            return
        if self._state == "thought":
            yield from self._thought()
        if self._state != "thought":
            yield from self._release()

    def finish(self) -> Iterator[Text | Reasoning]:
        """What was held back when the answer ended."""
        held, self._held = self._held, ""
        if held:
            yield Reasoning(text=held, choice=self._choice) if self._state == "thought" else Text(held, self._choice)

    def _decide(self) -> bool:
        """Whether it is known by now if the answer begins with a thought."""
        head = self._held.lstrip()
        if head.startswith(_OPEN):
            self._held = head[len(_OPEN) :]
            self._state = "thought"
        elif not _OPEN.startswith(head):
            self._state = "answer"
        return self._state != "start"

    def _thought(self) -> Iterator[Text | Reasoning]:
        thought, tag, answer = self._held.partition(_CLOSE)
        if tag:
            self._state = "gap"
            self._held = answer
        else:
            keep = _overlap(thought, _CLOSE)
            self._held = thought[len(thought) - keep :]
            thought = thought[: len(thought) - keep]
        if thought:
            yield Reasoning(text=thought, choice=self._choice)

    def _release(self) -> Iterator[Text]:
        """The answer so far; blank lines between thought and answer belong to neither."""
        held, self._held = self._held, ""
        if self._state == "gap":
            held = held.lstrip("\n")
        if held:
            self._state = "answer"
            yield Text(held, self._choice)


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``tag``."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if tag.startswith(text[-size:])), 0)
