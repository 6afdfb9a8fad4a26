"""Records a message as it arrives: a paused turn is resumed by sending it back unchanged (facts/providers.md 3.10)."""

from typing import Any

import msgspec

from gateway.upstreams.anthropic.output import Fields

_FRAGMENTS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}
"""By delta type: the key of the delta's fragment, and the key of the block that it extends."""


class TurnRecorder:
    """Records the blocks of one message by index."""

    def __init__(self) -> None:
        self._blocks: dict[int, Fields] = {}
        self._fragments: dict[tuple[int, str], list[str]] = {}
        self._citations: dict[int, list[Any]] = {}

    def start_block(self, index: int, block: Fields) -> None:
        """Record an initial block, which in a complete message is all of it; its read-only ``caller`` is left out."""
        self._blocks[index] = {key: value for key, value in block.items() if key != "caller"}

    def extend_block(self, index: int, delta: Fields) -> None:
        """Record one delta of a block; unknown types are ignored."""
        kind = delta.get("type")
        if kind == "citations_delta":
            self._citations.setdefault(index, []).append(delta["citation"])
        elif kind in _FRAGMENTS:
            fragment, key = _FRAGMENTS[kind]
            self._fragments.setdefault((index, key), []).append(delta[fragment])

    def content(self) -> list[Fields]:
        """The content to send back, without blank text, which Anthropic refuses. ValueError for truncated JSON."""
        for (index, key), fragments in self._fragments.items():
            text = "".join(fragments)
            if key != "input":
                self._blocks[index][key] = (self._blocks[index].get(key) or "") + text
            elif text:
                self._blocks[index][key] = msgspec.json.decode(text)
        for index, citations in self._citations.items():
            self._blocks[index]["citations"] = [*(self._blocks[index].get("citations") or ()), *citations]
        self._fragments.clear()
        self._citations.clear()
        blocks = [block for _, block in sorted(self._blocks.items())]
        return [block for block in blocks if block.get("type") != "text" or block["text"].strip()]
