"""Thinking blocks and their places in a message.

Models since Claude 4.6 also think between texts and calls, and Anthropic refuses such a block anywhere but where it
was: "blocks in the latest assistant message cannot be modified". OpenAI's messages keep text, calls and reasoning
apart, so each block has a place: ``@characters.calls``, the text and the calls before it. It is empty at the start of
the message, and ``@`` alone after blocks that are not passed on, such as those of a web search.
"""

import re

import msgspec

from gateway.openai_api.messages import AssistantMessage, text_of
from gateway.upstreams.anthropic.parts import Block, text_block

_PLACE = re.compile(r"(?:@(?:(?P<characters>\d{1,9})\.(?P<calls>\d{1,9}))?)?")
_MODEL_PREFIX = "claude-"
_UNKNOWN = "@"


def place_after(characters: int, calls: int | None) -> str:
    """The place of a block after so many characters and calls; ``calls`` is None if other blocks precede it too."""
    if calls is None:
        return _UNKNOWN
    return f"@{characters}.{calls}" if characters or calls else ""


def is_mark(text: str) -> bool:
    """Whether the id of a ``reasoning_details`` entry is the gateway's, and thus names a place."""
    return text.startswith(_MODEL_PREFIX)


def place_in_mark(mark: str, model: str) -> str | None:
    """The place in the id of a ``reasoning_details`` entry, which the gateway marks with the model's id and the place.

    None for the mark of another model than ``model``; ids without a mark have an empty place. ``openai``'s stream
    helper concatenates the ids of fragments.
    """
    if not is_mark(mark):
        return ""
    before, *places = mark.split(model)
    if before or len(set(places)) != 1 or not _PLACE.fullmatch(places[0]):
        return None
    return places[0]


class Thoughts(msgspec.Struct, frozen=True):
    """The thinking blocks of one message, and the place of each."""

    blocks: list[Block]
    places: list[str]

    @property
    def leading(self) -> bool:
        """All blocks are at the start of the message."""
        return not any(self.places)

    def fit(self, message: AssistantMessage) -> bool:
        """Whether ``message`` still has the text and the calls that the blocks are between."""
        characters, calls = len(text_of(message.content)), len(message.tool_calls or ())
        return _UNKNOWN not in self.places and all(
            end <= characters and count <= calls for end, count in map(_before, self.places)
        )

    def interleave(self, text: str, calls: list[Block]) -> list[Block]:
        """The blocks of a message that they fit: its text, its ``calls`` and its thinking in their order."""
        arranged: list[Block] = []
        characters = called = 0
        for block, place in zip(self.blocks, self.places, strict=True):
            end, count = _before(place)
            arranged += [*_texts(text[characters:end]), *calls[called:count], block]
            characters, called = max(characters, end), max(called, count)
        return [*arranged, *_texts(text[characters:]), *calls[called:]]


def may_be_between(blocks: list[Block], message: AssistantMessage) -> bool:
    """Whether ``blocks`` without places need not all be from the start of ``message``, which ends with a call."""
    return len(blocks) > 1 and (len(message.tool_calls or ()) > 1 or bool(text_of(message.content).strip()))


def _before(place: str) -> tuple[int, int]:
    """The characters of text and the number of calls before ``place``."""
    match = _PLACE.fullmatch(place)
    return (int(match["characters"]), int(match["calls"])) if match and match["calls"] else (0, 0)


def _texts(text: str) -> list[Block]:
    block = text_block(text)
    return [] if block is None else [block]
