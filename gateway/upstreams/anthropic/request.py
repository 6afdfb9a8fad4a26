"""The body of ``POST /v1/messages``, version 2023-06-01 (facts/providers.md 3.3)."""

from typing import Any

import msgspec

from gateway.openai_api.errors import invalid_request, unsupported_value
from gateway.openai_api.request import JsonObjectFormat, JsonSchemaFormat
from gateway.upstreams.adapter import Chat
from gateway.upstreams.anthropic import parameters, replay
from gateway.upstreams.anthropic.messages import Conversation
from gateway.upstreams.anthropic.schema import restrict
from gateway.upstreams.anthropic.thinking import Constraints, Thinking, resolve
from gateway.upstreams.anthropic.tools import JSON_TOOL, Toolset, toolset
from gateway.upstreams.signature_cache import SignatureCache

DEFAULT_MAX_TOKENS = 4096
"""Default for models that refuse a request whose prompt and max_tokens together exceed their context."""

_JSON_ONLY = [
    {"type": "text", "text": "Answer with one valid JSON object and nothing else: no explanation, no Markdown."}
]


class Draft(msgspec.Struct, frozen=True):
    """The translated parts of a request that depend on each other; ``replayed_bytes`` as in ``UpstreamCall``."""

    max_tokens: int
    tools: Toolset
    thinking: Thinking
    conversation: Conversation
    replayed_bytes: int


def draft(chat: Chat, cache: SignatureCache) -> Draft:
    """Translate messages, tools and thinking. Raises 400."""
    thoughts = replay.thoughts(chat, cache)
    conversation = Conversation(chat, thoughts or {})
    tools = toolset(chat, conversation.called)
    max_tokens = _max_tokens(chat)
    constraints = Constraints(
        max_tokens=max_tokens,
        forced=tools.choice is not None and tools.choice["type"] in ("any", "tool"),
        prefilled=conversation.prefilled,
        lost=thoughts is None,
    )
    thinking = resolve(chat, constraints)
    if thoughts and not thinking.active:
        thoughts, conversation = None, Conversation(chat, {})
    return Draft(max_tokens, tools, thinking, conversation, replay.replayed_bytes(chat, thoughts) if thoughts else 0)


def build(chat: Chat, cache: SignatureCache) -> tuple[dict[str, Any], tuple[str, ...], int]:
    """The request body, the names of the dropped parameters, and ``replayed_bytes`` of the call. Raises 400."""
    parameters.check(chat)
    parts = draft(chat, cache)
    tools, thinking, conversation = parts.tools, parts.thinking, parts.conversation
    body = {
        "model": chat.model.upstream_id,
        "max_tokens": parts.max_tokens,
        "messages": [*conversation.turns, *_paused_turn(chat)] if chat.paused else conversation.turns,
    }
    dropped = parameters.apply(chat, body, thinking=thinking.active)
    optional = {
        "system": conversation.system + _JSON_ONLY if wants_json_object(chat) else conversation.system,
        "tools": tools.tools,
        "tool_choice": tools.choice,
        "thinking": thinking.config,
        "output_config": _output_config(chat, parts),
        "cache_control": chat.request.cache_control,
        "stream": chat.stream,
    }
    body |= {name: value for name, value in optional.items() if value}
    return body, (*dropped, *tools.dropped, *thinking.dropped), parts.replayed_bytes


def wants_json_object(chat: Chat) -> bool:
    """JSON without a schema is requested, which takes an instruction: Anthropic has no mode for it."""
    match chat.request.response_format:
        case JsonObjectFormat():
            return True
        case JsonSchemaFormat(json_schema=wanted):
            return wanted.schema is None
    return False


def _max_tokens(chat: Chat) -> int:
    limit = chat.output_tokens
    if limit is None:
        limit = chat.model.max_output_tokens or DEFAULT_MAX_TOKENS
        limit = min(limit, DEFAULT_MAX_TOKENS) if chat.model.traits.output_within_context else limit
    left = limit - chat.paused.output_tokens if chat.paused else limit
    if left < 1:
        raise invalid_request("The response was paused at its output limit", "max_tokens")
    return left


def _paused_turn(chat: Chat) -> list[dict[str, Any]]:
    """The paused turn, which Anthropic continues."""
    return [{"role": "assistant", "content": chat.paused.content}] if chat.paused else []


def _output_config(chat: Chat, parts: Draft) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if parts.thinking.effort is not None:
        config["effort"] = parts.thinking.effort
    wanted = chat.request.response_format
    if isinstance(wanted, JsonSchemaFormat) and wanted.json_schema.schema is not None:
        if parts.conversation.prefilled:
            raise unsupported_value(
                "'json_schema' cannot be combined with a final assistant message.", "response_format"
            )
        if not any(tool["name"] == JSON_TOOL for tool in parts.tools.tools):
            description = {"description": wanted.json_schema.description} if wanted.json_schema.description else {}
            schema = restrict(
                description | wanted.json_schema.schema,
                lossless=bool(wanted.json_schema.strict),
                param="response_format.json_schema.schema",
            )
            config["format"] = {"type": "json_schema", "schema": schema}
    return config
