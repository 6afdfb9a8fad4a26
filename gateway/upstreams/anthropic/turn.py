"""An answer in Anthropic's own form, kept while it arrives: a paused turn goes on when it is sent back unchanged
(facts/providers.md 3.10).
"""

from typing import Any

import msgspec

Fields = dict[str, Any]

# Of a delta: the key of its piece, and the key in the block that it lengthens.
_GROWS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}


class Turn:
    """The blocks of one message, by index."""

    def __init__(self) -> None:
        self._blocks: dict[int, Fields] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}

    def begin(self, index: int, block: Fields) -> None:
        """A block as it begins, which in a complete answer is all of it. ``caller`` is for reading only."""
        self._blocks[index] = {key: value for key, value in block.items() if key != "caller"}

    def grow(self, index: int, delta: Fields) -> None:
        """One delta of a block; kinds that are not known are left out."""
        kind = delta.get("type")
        if kind == "citations_delta":
            block = self._blocks[index]
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind in _GROWS:
            piece, key = _GROWS[kind]
            self._pieces.setdefault((index, key), []).append(delta[piece])

    def content(self) -> list[Fields]:
        """What to send back. Blank text is left out, which Anthropic refuses; JSON that broke off is a ValueError."""
        for (index, key), pieces in self._pieces.items():
            grown = "".join(pieces)
            if key != "input":
                self._blocks[index][key] = (self._blocks[index].get(key) or "") + grown
            elif grown:
                self._blocks[index][key] = msgspec.json.decode(grown)
        self._pieces.clear()
        blocks = [block for _, block in sorted(self._blocks.items())]
        return [block for block in blocks if block.get("type") != "text" or block["text"].strip()]
