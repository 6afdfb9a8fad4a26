"""Strips Markdown fences around JSON from streamed text (facts/providers.md 3.6, json_object)."""

import re
from typing import Literal

_OPENING = re.compile(r"\s*```(?:json)?[ \t]*\r?\n", re.IGNORECASE)
_MAY_OPEN = re.compile(r"\s*(?:`{0,2}|```(?:j|js|jso|json)?[ \t]*\r?)", re.IGNORECASE)
_CLOSING = re.compile(r"\n[ \t]*```")

State = Literal["start", "plain", "fenced", "closed"]


class FenceStripper:
    """Removes an opening fence from the text of one answer, and everything from the closing fence on.

    JSON strings contain no raw line breaks, so a fence at the start of a line cannot be part of a value; nor does JSON
    end with blanks or backticks, so those are buffered until more text follows.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._state: State = "start"

    def feed(self, text: str) -> str:
        """The text to pass on after ``text``."""
        if self._state == "plain":
            return text
        self._buffer += text
        if self._state == "start":
            self._state = self._opening()
        if self._state == "fenced":
            return self._inside()
        return self._flush() if self._state == "plain" else ""

    def finish(self) -> str:
        """The remaining text at the end of the answer."""
        return self._flush() if self._state == "start" else ""

    def _opening(self) -> State:
        if opening := _OPENING.match(self._buffer):
            self._buffer = self._buffer[opening.end() :]
            return "fenced"
        return "start" if _MAY_OPEN.fullmatch(self._buffer) else "plain"

    def _inside(self) -> str:
        if closing := _CLOSING.search(self._buffer):
            self._state = "closed"
            return self._buffer[: closing.start()].rstrip()
        cut = len(self._buffer.rstrip(" \t\r\n`"))
        inside, self._buffer = self._buffer[:cut], self._buffer[cut:]
        return inside

    def _flush(self) -> str:
        rest, self._buffer = self._buffer, ""
        return rest
