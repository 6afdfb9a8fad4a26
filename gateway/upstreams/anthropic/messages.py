"""Translates messages into Anthropic's system blocks and alternating turns (facts/providers.md 3.4)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from gateway.openai_api import long_json
from gateway.openai_api.errors import invalid_request, unsupported_value
from gateway.openai_api.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionToolCall,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gateway.upstreams.adapter import Chat
from gateway.upstreams.anthropic.parts import Block, content_blocks, text_block, with_cache_control
from gateway.upstreams.anthropic.thoughts import Thoughts
from gateway.upstreams.anthropic.tools import INVALID_CHARACTER, tool_names
from gateway.upstreams.name_map import NameMap

_PLAIN = frozenset({"role", "content"})
_TURN_ROLES = frozenset({"user", "assistant"})
_THINKING_TYPES = frozenset({"thinking", "redacted_thinking"})
_FAILED = "The tool failed."
"""The text of a failed tool's result that is empty, and of one with images or files in place of ``is_error``: Anthropic
refuses both otherwise."""


class Conversation:
    """The translated messages of a chat: ``system`` and ``turns`` go into the body.

    ``thoughts`` are given by position of their message. ``called`` are the tools that were called, by Anthropic's names
    and in order. ``prefilled``: the last turn is the assistant's, which the answer continues.
    """

    def __init__(self, chat: Chat, thoughts: Mapping[int, Thoughts]) -> None:
        self.system: list[Block] = []
        self.turns: list[dict[str, Any]] = []
        self.called: dict[str, None] = {}
        self._model = chat.model
        self._tools = chat.request.tools
        self._searches = chat.may_pause
        self._add_all(chat, thoughts)
        self._check_last_turn(chat.request.messages)
        self.prefilled: bool = self.turns[-1]["role"] == "assistant"

    def _add_all(self, chat: Chat, thoughts: Mapping[int, Thoughts]) -> None:
        """Add the messages in order; plain text messages, the most common, are added right here."""
        turns = self.turns
        for position, sent in enumerate(chat.body["messages"]):
            role, text = sent["role"], sent["content"] if sent.keys() == _PLAIN else None
            if type(text) is not str or (turns and role not in _TURN_ROLES):
                message = chat.request.messages[position]
                self._add(message, f"messages[{position}]", thoughts.get(position))
            elif text and not text.isspace():
                block = {"type": "text", "text": text}
                if role not in _TURN_ROLES:
                    self.system.append(block)
                elif turns and turns[-1]["role"] == role:
                    turns[-1]["content"].append(block)
                else:
                    self._extend(role, [block])

    @cached_property
    def _names(self) -> NameMap:
        return tool_names(self._tools, searches=self._searches)

    @cached_property
    def _ids(self) -> NameMap:
        """The map of tool-call ids, never shortened: other vendors use other alphabets and repeat ids in every turn.

        Anthropic requires the ids of all calls of a conversation to be unique.
        """
        return NameMap(INVALID_CHARACTER)

    def _add(self, message: Message, where: str, thoughts: Thoughts | None) -> None:
        match message:
            case SystemMessage() | DeveloperMessage():
                self._add_system(message, where)
            case UserMessage():
                self._extend("user", _cache_last_block(self._blocks(message.content, where), message.cache_control))
            case AssistantMessage():
                self._add_assistant(message, where, thoughts)
            case ToolMessage():
                self._add_result(message, where)

    def _blocks(self, content: Any, where: str) -> list[Block]:
        return content_blocks(content, self._model, f"{where}.content")

    def _add_system(self, message: SystemMessage | DeveloperMessage, where: str) -> None:
        """Before the first turn: the system prompt. Later: a system turn after a user's, or tagged text in that."""
        found = _cache_last_block(self._blocks(message.content, where), message.cache_control)
        if not self.turns:
            self.system += found
        elif self._model.traits.system_turns and self.turns[-1]["role"] != "assistant":
            self._extend("system", found)
        else:
            self._extend("user", _tagged(found))

    def _add_assistant(self, message: AssistantMessage, where: str, thoughts: Thoughts | None) -> None:
        found = self._blocks(message.content, where)
        if message.refusal and (refusal := text_block(message.refusal)):
            found.append(refusal)
        calls = enumerate(message.tool_calls or ())
        uses = [self._tool_use(call, f"{where}.tool_calls[{index}]") for index, call in calls]
        if thoughts is None or thoughts.leading:
            found = _cache_last_block(found + uses, message.cache_control)
            self._extend("assistant", [*thoughts.blocks, *found] if thoughts else found)
            if thoughts is not None:
                _move_thinking_first(self.turns[-1]["content"])
        else:
            self._extend("assistant", _interleaved(thoughts, found, uses, message.cache_control))

    def _tool_use(self, call: ToolCall, where: str) -> Block:
        if isinstance(call, FunctionToolCall):
            name, arguments = call.function.name, _arguments(call.function.arguments, f"{where}.function.arguments")
        else:
            name, arguments = call.custom.name, {"input": call.custom.input}
        name = self._names.outbound(name)
        self.called[name] = None
        use = {"type": "tool_use", "id": self._ids.reissue(call.id), "name": name, "input": arguments}
        return with_cache_control(use, call.cache_control)

    def _add_result(self, message: ToolMessage, where: str) -> None:
        result: Block = {"type": "tool_result", "tool_use_id": self._ids.outbound(message.tool_call_id)}
        is_error = message.is_error
        content = message.content if isinstance(message.content, str) else self._blocks(message.content, where)
        if isinstance(content, str) and content.isspace():
            content = ""
        elif is_error and isinstance(content, list) and any(block["type"] != "text" for block in content):
            content, is_error = [{"type": "text", "text": _FAILED}, *content], None
        if content or is_error:
            result["content"] = content or _FAILED
        if is_error is not None:
            result["is_error"] = is_error
        self._extend("user", [with_cache_control(result, message.cache_control)])

    def _extend(self, role: str, found: list[Block]) -> None:
        """Add blocks to the last turn if it is ``role``'s, else to a new one.

        Anthropic takes a system turn at the end or before an assistant's, so one before a user's becomes tagged text.
        """
        if not found:
            return
        if role == "user" and self.turns and self.turns[-1]["role"] == "system":
            found = _tagged(self.turns.pop()["content"]) + found
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += found
        else:
            self.turns.append({"role": role, "content": found})

    def _check_last_turn(self, messages: Sequence[Message]) -> None:
        """Require a last turn, and strip trailing blanks from an assistant's, as Anthropic demands.

        An assistant turn is last only where the caller ends with one, not where a user message has no content.
        """
        if not self.turns:
            raise invalid_request("At least one message besides the system prompt must have content.", "messages")
        if self.turns[-1]["role"] != "assistant":
            return
        position = len(messages) - 1
        while isinstance(messages[position], SystemMessage | DeveloperMessage):
            position -= 1
        if isinstance(messages[position], UserMessage):
            where = f"messages[{position}].content"
            raise invalid_request(f"Invalid '{where}': the last message must have content with this model.", where)
        if not self._model.traits.prefill:
            raise unsupported_value(
                f"The model '{self._model.id}' does not support a final assistant message; end with a user message.",
                f"messages[{position}].role",
            )
        last = self.turns[-1]["content"][-1]
        if last["type"] == "text":
            last["text"] = last["text"].rstrip()


def _tagged(found: list[Block]) -> list[Block]:
    """The texts of a system message for a user's turn."""
    return [block | {"text": f"<system>{block['text']}</system>"} for block in found]


def _interleaved(
    thoughts: Thoughts, texts: list[Block], uses: list[Block], cache_control: dict[str, Any] | None
) -> list[Block]:
    """A message with thinking between its texts and calls; its cache breakpoint, or a text's, is on the last call."""
    marks = [cache_control, *(block.get("cache_control") for block in reversed(texts))]
    last_mark = next((mark for mark in marks if mark is not None), None)
    return thoughts.interleave("".join(block["text"] for block in texts), _cache_last_block(uses, last_mark))


def _move_thinking_first(content: list[Block]) -> None:
    """Sort thinking blocks to the start of a turn, where Anthropic requires them."""
    if content[0]["type"] not in _THINKING_TYPES:
        content.sort(key=lambda block: block["type"] not in _THINKING_TYPES)


def _cache_last_block(found: list[Block], cache_control: dict[str, Any] | None) -> list[Block]:
    """``found`` with the message's cache breakpoint on its last block."""
    return found if cache_control is None or not found else [*found[:-1], with_cache_control(found[-1], cache_control)]


def _arguments(text: str, where: str) -> dict[str, Any]:
    """A call's arguments as an object; blank text means no arguments. Raises 400."""
    try:
        arguments = long_json.decode(text) if text.strip() else {}
    except (msgspec.DecodeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise invalid_request(f"Invalid '{where}': expected a JSON object.", where)
    return arguments
