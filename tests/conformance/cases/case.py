"""A conformance case: the request, the vendor's scripted answer and the expected result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.simulators import Scenario

Json = dict[str, Any]

PROMPT_TOKENS, COMPLETION_TOKENS = 1200, 34


def user(content: str | list[Json]) -> Json:
    return {"role": "user", "content": content}


def text_part(text: str) -> Json:
    return {"type": "text", "text": text}


def answering(text: str | None = None, **fields: Any) -> Scenario:
    """A scripted answer with exact token counts, without reasoning unless requested."""
    counts = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS, "reasoning_tokens": 0}
    return Scenario(**({"text": text, "reasoning": "", **counts} | fields))


@dataclass(frozen=True, kw_only=True)
class Call:
    """An expected tool call."""

    name: str
    arguments: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """``texts`` are the contents of the choices; an empty one must be null beside tool calls or a refusal.

    ``thoughts`` are those that the caller must see, of vendors that show them; None where they do not matter.
    ``arrives`` are strings that must stand somewhere in what the vendor receives; ``arrives_as`` replaces them for
    single vendors. ``dropped`` are the hints that must be listed as left out, by model or vendor. ``refused`` is the
    ``param`` of the expected 400, by model or vendor. ``finishes`` and ``refusals`` are the finish reason and the
    refusal where vendors differ. ``check`` looks at the message where equality will not do.
    """

    name: str
    scenario: Scenario
    messages: tuple[Json, ...] = (user("Hello there"),)
    parameters: Json = field(default_factory=dict)
    texts: tuple[str, ...] = ("",)
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    finishes: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    thoughts: str | None = ""
    arrives: tuple[str, ...] = ()
    arrives_as: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    check: Callable[[Json], None] | None = None

    def __str__(self) -> str:
        return self.name

    def request(self, model: str, *, stream: bool) -> Json:
        return {"model": model, "messages": list(self.messages), "stream": stream, **self.parameters}
