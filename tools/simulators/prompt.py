"""The parts of a request that an answer depends on, independent of the vendor's wire format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BYTES_PER_TOKEN = 4
TOKENS_PER_ATTACHMENT = 85


def token_count(text: str) -> int:
    """Tokens of a text: its UTF-8 bytes divided by four, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool; `parameters` is JSON Schema, or None for a function without parameters.

    A custom tool (OpenAI) takes free-form text instead of arguments.
    """

    name: str
    parameters: Mapping[str, Any] | None = None
    custom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Input of the composition of an answer."""

    model: str
    last_user_text: str = ""
    """Text of the last turn if it is the user's; empty after tool results or an assistant turn."""
    results: tuple[str, ...] = ()
    """Tool results that end the conversation."""
    tokens: int = 0
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """auto, none, required, or the name of one tool after a colon (`:weather`)."""
    parallel_tools: bool = True
    schema: Mapping[str, Any] | None = None
    json_mode: bool = False
    reasoning_enabled: bool = False
    """The model reasons before this answer."""
    limit: int | None = None
    limit_includes_reasoning: bool = False
    stop: tuple[str, ...] = ()
    choices: int = 1
    generates_image: bool = False
    """The answer contains an image."""


@dataclass(slots=True)
class PromptSize:
    """Adds up the tokens of a conversation: texts by `token_count`, pictures and files at a flat rate."""

    text_bytes: int = 0
    attachments: int = 0

    def text(self, text: str) -> None:
        self.text_bytes += len(text.encode())

    def attachment(self) -> None:
        self.attachments += 1

    @property
    def tokens(self) -> int:
        return max(1, -(-self.text_bytes // BYTES_PER_TOKEN)) + self.attachments * TOKENS_PER_ATTACHMENT
