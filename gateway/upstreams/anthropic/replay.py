"""Replays thinking blocks to the model that produced them (facts/providers.md 3.8, 4).

While its tool calls are being answered, an assistant turn must begin with its thinking blocks, unchanged. They come
from the gateway's cache, or from the client: ``reasoning_details`` in Anthropic's format, or litellm's
``thinking_blocks``. Thinking of other vendors, of other models, of finished turns and of unknown places is left out.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

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
from gateway.upstreams.anthropic.parts import Block, content_blocks, text_block
from gateway.upstreams.anthropic.thoughts import Thoughts, is_mark, may_be_between, place_in_mark
from gateway.upstreams.signature_cache import SignatureCache

FORMAT = "anthropic-claude-v1"
_CACHE_PREFIX = "anthropic:"
"""Separates this adapter's entries in the shared cache from those of other vendors."""
_INTERLEAVED = ("adaptive", "always")
"""Models that also think between texts and calls, without the beta of earlier ones, which is not used (3.1)."""
_PROMPTS = (UserMessage, SystemMessage, DeveloperMessage)
"""Messages that may follow the results of tool calls before the answer to them."""


def thoughts(chat: Chat, cache: SignatureCache) -> Mapping[int, Thoughts] | None:
    """Thinking blocks of the current tool-use loop, by position of the assistant message.

    Empty when no tool call is being answered. None when the thinking of the calls being answered is lost. What is
    cached of one answer belongs to one message, the last that has its calls: a caller may repeat them a thousand times.
    """
    turns = _current_loop(chat)
    if not turns:
        return {}
    known: dict[int, Thoughts] = {}
    used: set[int] = set()
    for position, turn in turns:
        found = _thoughts_of(chat, cache, turn)
        if found is not None and found.fit(turn) and id(found.blocks) not in used:
            known[position] = found
            used.add(id(found.blocks))
    if turns[0][0] not in known:
        return None
    return {position: found for position, found in known.items() if found.blocks}


def replayed_bytes(chat: Chat, found: Mapping[int, Thoughts]) -> int:
    """The size of the blocks in ``found`` beyond the thoughts that the caller's own messages have."""
    return sum(
        max(0, _size(thoughts.blocks) - _size(_carried(chat.body["messages"][position])))
        for position, thoughts in found.items()
    )


def _carried(message: dict[str, Any]) -> list[Any]:
    """What ``message`` itself has of Claude's thoughts."""
    details = message.get("reasoning_details") or ()
    own = [detail for detail in details if (detail.get("format") or "").startswith(FORMAT)]
    return [*own, *(message.get("thinking_blocks") or ())]


def _size(value: Any) -> int:
    return len(msgspec.json.encode(value))


def cache_thinking(chat: Chat, cache: SignatureCache, calls: list[tuple[str, str, str]], found: Thoughts) -> None:
    """Cache an answer's thinking blocks under each of its tool calls, given as (id, name, arguments)."""
    value = {"model": chat.model.upstream_id, "blocks": found.blocks, "places": found.places}
    cache.put_all(
        chat.caller, [(_CACHE_PREFIX + call_id, name, arguments) for call_id, name, arguments in calls], value
    )


def _current_loop(chat: Chat) -> list[tuple[int, AssistantMessage]]:
    """``(position, message)`` of the assistant messages since the last user message, latest first.

    Empty unless the tool calls of the latest one are being answered.
    """
    messages = chat.request.messages
    end = len(messages)
    while end and (isinstance(messages[end - 1], _PROMPTS) or _is_empty(messages[end - 1], chat.model)):
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


def _is_empty(message: Message, model: Model) -> bool:
    """An assistant message without content, which is not sent: the tool results before it are still unanswered."""
    return isinstance(message, AssistantMessage) and not (
        message.tool_calls or content_blocks(message.content, model, "") or text_block(message.refusal or "")
    )


def _thoughts_of(chat: Chat, cache: SignatureCache, message: AssistantMessage) -> Thoughts | None:
    """The thinking blocks of a message with tool calls, or None.

    An entry in the cache takes precedence, unless the message has the signatures of another answer.
    """
    details = [detail for detail in message.reasoning_details or () if detail.has_format(FORMAT)]
    returned = [detail.signature for detail in details]
    returned += [block.get("signature") for block in message.thinking_blocks or ()]
    for call in message.tool_calls or ():
        if isinstance(call, FunctionToolCall):
            cached = cache.get(chat.caller, _CACHE_PREFIX + call.id, call.function.name, call.function.arguments)
            if cached is not None:
                if cached["model"] != chat.model.upstream_id:
                    return None
                kept = [block.get("signature") for block in cached["blocks"]]
                if not any(returned) or any(signature in kept for signature in returned if signature):
                    return Thoughts(cached["blocks"], cached["places"])
    marks = [place_in_mark(detail.id or "", chat.model.upstream_id) for detail in details]
    places = [place for place in marks if place is not None]
    if len(places) < len(details):
        return None
    found = _from_details(details, places, message.reasoning_content or "")
    if found.blocks and any(is_mark(detail.id or "") for detail in details):
        return found
    blocks = found.blocks or _from_blocks(message.thinking_blocks or [])
    if not blocks or (chat.model.traits.thinking in _INTERLEAVED and may_be_between(blocks, message)):
        return None
    return Thoughts(blocks, [""] * len(blocks))


def _from_details(details: list[ReasoningDetail], marked: list[str], reasoning: str) -> Thoughts:
    """Blocks from ``reasoning_details``, whose ids have ``marked`` the places.

    The entries of a stream's chunks are joined by their index; the place is in those that have a signature.

    The npm package ``openai`` keeps only the last chunk's entry, a signature: blocks without text are discarded when
    ``reasoning``, the message's reasoning_content, has some.
    """
    blocks: list[Block] = []
    places: list[str] = []
    index: int | None = None
    for detail, place in zip(details, marked, strict=True):
        if detail.data is not None:
            blocks.append({"type": "redacted_thinking", "data": detail.data})
        elif blocks and blocks[-1]["type"] == "thinking" and detail.index == index is not None:
            blocks[-1]["thinking"].append(detail.text or "")
            blocks[-1]["signature"] = detail.signature or blocks[-1]["signature"]
            places[-1] = place or places[-1]
        else:
            blocks.append({"type": "thinking", "thinking": [detail.text or ""], "signature": detail.signature})
        places += [place] * (len(blocks) - len(places))
        index = detail.index
    for block in blocks:
        if block["type"] == "thinking":
            block["thinking"] = "".join(block["thinking"])
    if (reasoning and not any(block.get("thinking") for block in blocks)) or not _if_complete(blocks):
        return Thoughts([], [])
    return Thoughts(blocks, places)


def _from_blocks(blocks: list[dict[str, Any]]) -> list[Block]:
    """Blocks from litellm's key, reduced to Anthropic's own members."""
    keys = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}
    return _if_complete(
        [
            {"type": kind} | {key: block.get(key) for key in keys[kind]}
            for block in blocks
            if isinstance(kind := block.get("type"), str) and kind in keys
        ]
    )


def _if_complete(blocks: list[Block]) -> list[Block]:
    """``blocks``, or none when one lacks a member such as its signature: Anthropic refuses incomplete thinking."""
    return blocks if all(isinstance(value, str) for block in blocks for value in block.values()) else []
