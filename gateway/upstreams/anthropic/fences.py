"""Strips Markdown fences around JSON from streamed text (facts/providers.md 3.6, json_object)."""

import re
from typing import Literal

_OPENING = re.compile(r"```(?:json)?[ \t]*\r?\n", re.IGNORECASE)
_MAY_OPEN = re.compile(r"`{0,2}|```(?:j|js|jso|json)?[ \t]*\r?", re.IGNORECASE)
_CLOSING = re.compile(r"\n[ \t]*```")

_State = Literal["start", "plain", "fenced", "closed"]


class FenceStripper:
    """Removes an opening fence from the text of one answer, and everything from the closing fence on.

    JSON strings contain no raw line breaks, so a fence at the start of a line cannot be part of a value; nor does JSON
    end with blanks or backticks, so those are buffered until more text follows. Of long blanks only the last line can
    be part of a fence: ``_held`` are those before the buffer.
    """

    def __init__(self) -> None:
        self._held: list[str] = []
        self._buffer = ""
        self._state: _State = "start"

    def feed(self, text: str) -> str:
        """The text to pass on after ``text``."""
        if self._state in ("plain", "closed"):
            return text if self._state == "plain" else ""
        self._buffer += text
        if self._state == "start":
            self._state = self._opening()
        if self._state == "fenced":
            return self._inside()
        return self._flush() if self._state == "plain" else ""

    def finish(self) -> str:
        """The remaining text at the end of the answer."""
        return self._flush() if self._state == "start" else ""

    def _opening(self) -> _State:
        head = self._buffer.lstrip()
        self._held.append(self._buffer[: len(self._buffer) - len(head)])
        self._buffer = head
        if opening := _OPENING.match(head):
            self._held.clear()
            self._buffer = head[opening.end() :]
            return "fenced"
        return "start" if _MAY_OPEN.fullmatch(self._buffer) else "plain"

    def _inside(self) -> str:
        if closing := _CLOSING.search(self._buffer):
            self._state = "closed"
            self._buffer = self._buffer[: closing.start()]
            return self._flush().rstrip()
        cut = len(self._buffer.rstrip(" \t\r\n`"))
        rest, self._buffer = self._buffer[cut:], self._buffer[:cut]
        inside = self._flush() if cut else ""
        before, line_break, last_line = rest.rpartition("\n")
        if before:
            self._held.append(before)
        self._buffer = line_break + last_line
        return inside

    def _flush(self) -> str:
        rest, self._buffer = "".join(self._held) + self._buffer, ""
        self._held.clear()
        return rest
