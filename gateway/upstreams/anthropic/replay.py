"""Thinking blocks that go back to the model that thought them (facts/providers.md 3.8, 4).

While tool calls are answered, the turn that made them has to begin with its thoughts, unchanged. They come from this
gateway's own cache, or from the client: ``reasoning_details`` of Anthropic's format, or litellm's
``thinking_blocks``. Thoughts of other vendors, of other models, and of turns that are over are left out.
"""

from collections.abc import Mapping
from typing import Any

from gateway.catalog import Model
from gateway.openai_api.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionToolCall,
    Message,
    ReasoningDetail,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from gateway.upstreams.adapter import Chat
from gateway.upstreams.anthropic.content import Block, blocks, text_block
from gateway.upstreams.signature_cache import SignatureCache

FORMAT = "anthropic-claude-v1"

# Tells our entries in the cache from those of other vendors' adapters, which share it.
_OURS = "anthropic:"

# What may follow the results of tool calls before the answer to them.
_OPENING = (UserMessage, SystemMessage, DeveloperMessage)


def thoughts(chat: Chat, cache: SignatureCache) -> Mapping[int, list[Block]] | None:
    """Thinking blocks by position of the assistant message in the current round of tool calls.

    Empty when no tool call is being answered. None when the thoughts of the calls being answered are lost.
    """
    turns = _round(chat)
    if not turns:
        return {}
    known = {position: blocks for position, turn in turns if (blocks := _known(chat, cache, turn)) is not None}
    if turns[0][0] not in known:
        return None
    return {position: blocks for position, blocks in known.items() if blocks}


def remember(chat: Chat, cache: SignatureCache, calls: list[tuple[str, str, str]], blocks: list[Block]) -> None:
    """Keep an answer's thinking blocks under each of its tool calls, given as (id, name, arguments)."""
    for call_id, name, arguments in calls:
        value = {"model": chat.model.upstream_id, "blocks": blocks}
        cache.put(chat.caller, _OURS + call_id, name, arguments, value)


def _round(chat: Chat) -> list[tuple[int, AssistantMessage]]:
    """The assistant messages since the user last spoke, latest first, if the latest one's tool calls are answered."""
    messages = chat.request.messages
    end = len(messages)
    while end and (isinstance(messages[end - 1], _OPENING) or _silent(messages[end - 1], chat.model)):
        end -= 1
    if not end or not isinstance(messages[end - 1], ToolMessage):
        return []
    turns = []
    for position in reversed(range(end)):
        message = messages[position]
        if isinstance(message, UserMessage):
            break
        if isinstance(message, AssistantMessage):
            turns.append((position, message))
    return turns


def _silent(message: Message, model: Model) -> bool:
    """An assistant's message that says nothing, of which nothing is sent: what was asked before it is still open."""
    return isinstance(message, AssistantMessage) and not (
        message.tool_calls or blocks(message.content, model, "") or text_block(message.refusal or "")
    )


def _known(chat: Chat, cache: SignatureCache, message: AssistantMessage) -> list[Block] | None:
    """The thoughts before a message's tool calls, or None: the cache's word on whose they are is final."""
    for call in message.tool_calls or ():
        if isinstance(call, FunctionToolCall):
            kept = cache.get(chat.caller, _OURS + call.id, call.function.name, call.function.arguments)
            if kept is not None:
                blocks: list[Block] = kept["blocks"]
                return blocks if kept["model"] == chat.model.upstream_id else None
    found = _from_details(message.reasoning_details or [], message.reasoning_content or "")
    return found or _from_blocks(message.thinking_blocks or []) or None


def _from_details(details: list[ReasoningDetail], told: str = "") -> list[Block]:
    """Blocks from ``reasoning_details``; the pieces of a stream, kept one by one, are joined by their index.

    The npm package ``openai`` keeps only a stream's last piece, which is a signature: without text there are none where
    ``told``, the message's readable thought, has some.
    """
    blocks: list[Block] = []
    index: int | None = None
    for detail in details:
        if not detail.has_format(FORMAT):
            continue
        if detail.data is not None:
            blocks.append({"type": "redacted_thinking", "data": detail.data})
        elif blocks and blocks[-1]["type"] == "thinking" and detail.index == index is not None:
            blocks[-1]["thinking"].append(detail.text or "")
            blocks[-1]["signature"] = detail.signature or blocks[-1]["signature"]
        else:
            blocks.append({"type": "thinking", "thinking": [detail.text or ""], "signature": detail.signature})
        index = detail.index
    for block in blocks:
        if block["type"] == "thinking":
            block["thinking"] = "".join(block["thinking"])
    if told and not any(block.get("thinking") for block in blocks):
        return []
    return _whole(blocks)


def _from_blocks(blocks: list[dict[str, Any]]) -> list[Block]:
    """Blocks from litellm's key, with nothing in them but what Anthropic gave."""
    keys = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}
    return _whole(
        [
            {"type": kind} | {key: block.get(key) for key in keys[kind]}
            for block in blocks
            if isinstance(kind := block.get("type"), str) and kind in keys
        ]
    )


def _whole(blocks: list[Block]) -> list[Block]:
    """All of ``blocks``, or none when one lacks its signature: parts of a thought are refused."""
    return blocks if all(isinstance(value, str) for block in blocks for value in block.values()) else []
