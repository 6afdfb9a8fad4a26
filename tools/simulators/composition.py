"""Composes an answer from a prompt and a scenario, independent of the vendor's wire format.

Rules for what the scenario leaves open; limits and stop sequences cut a scripted text as well:

- tools: none after tool results; else every tool whose name, or a word of at least four letters of it, occurs in the
  last user text; the one that tool_choice demands. Arguments are an example of the tool's schema whose strings are
  the last capitalised word of the text ("Oslo").
- text: `You said: <last user text>` (at most 400 characters), `The tools answered: <results>`, or an example of the
  response schema; cut at a stop sequence and at the token limit.
- tokens: four UTF-8 bytes each, rounded up.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from tools.simulators.prompt import BYTES_PER_TOKEN, Prompt, Tool, token_count
from tools.simulators.scenario import Scenario, ToolCall
from tools.simulators.schema_example import example

REASONING = "The user wants an answer."
ECHO_LIMIT = 400

Ending = Literal["stop", "stop_sequence", "length", "tool_calls", "content_filter", "refusal"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` is JSON text, or the free-form input of a custom tool."""

    name: str
    arguments: str
    id: str | None = None
    custom: bool = False

    @property
    def input(self) -> Any:
        """The arguments as a JSON value, or as text if they are not JSON."""
        try:
            return json.loads(self.arguments or "{}")
        except ValueError:
            return self.arguments


@dataclass(frozen=True, slots=True)
class Tokens:
    """Prompt includes cached and cache-written tokens; completion excludes reasoning."""

    prompt: int
    completion: int
    reasoning: int = 0
    cached: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    model: str
    text: str
    reasoning: str
    calls: tuple[Call, ...]
    ending: Ending
    tokens: Tokens | None
    stop_sequence: str | None = None
    pictures: int = 0
    redacted: bool = False


def compose(prompt: Prompt, scenario: Scenario) -> Answer:
    calls = _calls(prompt, scenario)
    reasoning = scenario.reasoning if scenario.reasoning is not None else REASONING if prompt.reasoning_enabled else ""
    text = scenario.text if scenario.text is not None else _text(prompt, calls)
    ending: Ending = "tool_calls"
    stop_sequence = None
    if not calls:
        reasoning, text, ending, stop_sequence = _limited(prompt, reasoning, text)
    if scenario.finish is not None:
        ending = scenario.finish
    if ending in ("refusal", "content_filter"):
        text = scenario.text or ""
    return Answer(
        model=scenario.model or prompt.model,
        text=text,
        reasoning=reasoning,
        calls=calls,
        ending=ending,
        tokens=_tokens(prompt, scenario, text, reasoning, calls),
        stop_sequence=stop_sequence,
        pictures=scenario.pictures if scenario.pictures is not None else int(prompt.generates_image),
        redacted=scenario.redacted,
    )


def _text(prompt: Prompt, calls: tuple[Call, ...]) -> str:
    if calls:
        return ""
    if prompt.schema is not None:
        return json.dumps(example(prompt.schema, _word(prompt.last_user_text)), ensure_ascii=False)
    if prompt.json_mode:
        return json.dumps({"answer": prompt.last_user_text[:ECHO_LIMIT]}, ensure_ascii=False)
    if prompt.generates_image:
        return "Here is your picture."
    if prompt.results:
        return f"The tools answered: {'; '.join(prompt.results)}"[:ECHO_LIMIT]
    return f"You said: {prompt.last_user_text[:ECHO_LIMIT]}"


def _calls(prompt: Prompt, scenario: Scenario) -> tuple[Call, ...]:
    if scenario.tool_calls is not None:
        return tuple(_scripted(call, prompt) for call in scenario.tool_calls)
    if scenario.text is not None or scenario.finish is not None:
        return ()
    chosen = [Call(tool.name, _arguments(tool, prompt), custom=tool.custom) for tool in _wanted(prompt)]
    return tuple(chosen if prompt.parallel_tools else chosen[:1])


def _scripted(call: ToolCall, prompt: Prompt) -> Call:
    offered = (tool for tool in prompt.tools if call.name in (tool.name, None))
    tool = next(offered, Tool(call.name or "function"))
    match call.arguments:
        case None:
            text = _arguments(tool, prompt)
        case str():
            text = call.arguments
        case _:
            text = _dumps(call.arguments)
    return Call(tool.name, text, call.id, custom=tool.custom)


def _wanted(prompt: Prompt) -> list[Tool]:
    if prompt.tool_choice == "none" or not prompt.tools or prompt.results:
        return []
    if prompt.tool_choice.startswith(":"):
        return [tool for tool in prompt.tools if tool.name == prompt.tool_choice[1:]]
    last_user_text = prompt.last_user_text.lower()
    named = [tool for tool in prompt.tools if any(word in last_user_text for word in _words(tool.name))]
    return named or (list(prompt.tools[:1]) if prompt.tool_choice == "required" else [])


def _words(name: str) -> list[str]:
    return [name.lower(), *(word.lower() for word in re.split(r"[^A-Za-z0-9]+", name) if len(word) >= 4)]


def _arguments(tool: Tool, prompt: Prompt) -> str:
    if tool.custom:
        return prompt.last_user_text
    return _dumps(example(tool.parameters, _word(prompt.last_user_text)) or {}) if tool.parameters else "{}"


def _word(text: str) -> str:
    capitalised = re.findall(r"\b[A-Z][a-z]+\b", text)
    return capitalised[-1] if capitalised else "example"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _limited(prompt: Prompt, reasoning: str, text: str) -> tuple[str, str, Ending, str | None]:
    """Reasoning and text within the prompt's limits, and the ending with its stop sequence."""
    text, stop_sequence = _until_stop(text, prompt.stop)
    if prompt.limit is not None:
        room = prompt.limit * BYTES_PER_TOKEN
        if prompt.limit_includes_reasoning:
            reasoning, room = _cut(reasoning, room)
        shortened, _ = _cut(text, room)
        if shortened != text:
            return reasoning, shortened, "length", None
    return reasoning, text, "stop" if stop_sequence is None else "stop_sequence", stop_sequence


def _until_stop(text: str, stop: tuple[str, ...]) -> tuple[str, str | None]:
    found = [(text.find(sequence), sequence) for sequence in stop if sequence and sequence in text]
    if not found:
        return text, None
    position, sequence = min(found)
    return text[:position], sequence


def _cut(text: str, room: int) -> tuple[str, int]:
    """`text` in at most `room` bytes, and the bytes left over."""
    encoded = text.encode()
    if len(encoded) <= room:
        return text, room - -(-len(encoded) // BYTES_PER_TOKEN) * BYTES_PER_TOKEN
    return encoded[: max(room, 0)].decode("utf-8", "ignore"), 0


def _tokens(prompt: Prompt, scenario: Scenario, text: str, reasoning: str, calls: tuple[Call, ...]) -> Tokens | None:
    if scenario.omit_usage:
        return None
    counted = token_count(text) + sum(token_count(call.name + call.arguments) for call in calls)
    prompt_tokens = scenario.prompt_tokens if scenario.prompt_tokens is not None else prompt.tokens
    return Tokens(
        prompt=max(prompt_tokens, scenario.cached_tokens + scenario.cache_write_tokens),
        completion=scenario.completion_tokens if scenario.completion_tokens is not None else counted * prompt.choices,
        reasoning=scenario.reasoning_tokens if scenario.reasoning_tokens is not None else token_count(reasoning),
        cached=scenario.cached_tokens,
        cache_write=scenario.cache_write_tokens,
    )
