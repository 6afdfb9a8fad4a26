"""Answers to callers of OpenAI's legacy ``functions``: the first tool call is a ``function_call`` too.

``finish_reason`` stays ``tool_calls``: with any other the signed output would be the text alone (design 4.3).
"""

from typing import Any

from gateway.openai_api.assembler import Assembler
from gateway.openai_api.stream import ChatChunkEncoder


def choices_with_function_calls(assembler: Assembler) -> list[dict[str, Any]]:
    """``Assembler.choices`` with the calls in both forms."""
    choices = assembler.choices()
    for choice in choices:
        if calls := choice["message"].get("tool_calls"):
            choice["message"]["function_call"] = calls[0]["function"]
    return choices


class FunctionCallChunkEncoder(ChatChunkEncoder):
    """Chunks with the calls in both forms."""

    def _chunk(self, choice: int, delta: dict[str, Any], logprobs: dict[str, Any] | None) -> bytes:
        for call in delta.get("tool_calls", ()):
            if call["index"] == 0:
                delta = delta | {"function_call": call["function"]}
        return super()._chunk(choice, delta, logprobs)
