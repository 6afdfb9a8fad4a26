"""Markdown fences around JSON, taken off while the text streams by (facts/providers.md 3.6, json_object)."""

import re
from typing import Literal

_OPENING = re.compile(r"\s*```(?:json)?[ \t]*\r?\n", re.IGNORECASE)
_MAY_OPEN = re.compile(r"\s*(?:`{0,2}|```(?:j|js|jso|json)?[ \t]*\r?)", re.IGNORECASE)
_CLOSING = re.compile(r"\n[ \t]*```")

State = Literal["start", "plain", "fenced", "closed"]


class FenceStripper:
    """The text of one answer, without a fence that opens it and what follows the fence that closes it.

    JSON holds no raw line break inside a string, so a fence at the start of a line cannot be part of a value; nor
    does JSON end with blanks or backticks, so those are held back until more text follows.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state: State = "start"

    def feed(self, text: str) -> str:
        """What can be shown after ``text``."""
        if self._state == "plain":
            return text
        self._held += text
        if self._state == "start":
            self._state = self._opening()
        if self._state == "fenced":
            return self._inside()
        return self._release() if self._state == "plain" else ""

    def finish(self) -> str:
        """What is still to be shown at the end of the answer."""
        return self._release() if self._state == "start" else ""

    def _opening(self) -> State:
        if opening := _OPENING.match(self._held):
            self._held = self._held[opening.end() :]
            return "fenced"
        return "start" if _MAY_OPEN.fullmatch(self._held) else "plain"

    def _inside(self) -> str:
        if closing := _CLOSING.search(self._held):
            self._state = "closed"
            return self._held[: closing.start()].rstrip()
        cut = len(self._held.rstrip(" \t\r\n`"))
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def _release(self) -> str:
        held, self._held = self._held, ""
        return held
