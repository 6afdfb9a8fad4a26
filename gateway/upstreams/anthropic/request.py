"""The body of ``POST /v1/messages``, version 2023-06-01 (facts/providers.md 3.3)."""

from dataclasses import dataclass
from typing import Any

from gateway.openai_api.errors import invalid_request, unsupported_value
from gateway.openai_api.request import JsonObjectFormat, JsonSchemaFormat
from gateway.upstreams.adapter import Chat
from gateway.upstreams.anthropic import parameters, replay
from gateway.upstreams.anthropic.conversation import Conversation
from gateway.upstreams.anthropic.thinking import Circumstances, Thinking, decide
from gateway.upstreams.anthropic.tools import Toolset, emulated_schema, id_map, name_map, toolset
from gateway.upstreams.json_schema import restrict
from gateway.upstreams.signatures import SignatureCache

# Of models that refuse a request whose prompt and max_tokens together exceed their context.
CAUTIOUS_MAX_TOKENS = 4096

_JSON_ONLY = "Answer with one valid JSON object and nothing else: no explanation, no Markdown."


@dataclass(frozen=True, slots=True)
class Draft:
    """The translated parts of a request, before they are put into one body."""

    max_tokens: int
    tools: Toolset
    thinking: Thinking
    conversation: Conversation


def draft(chat: Chat, cache: SignatureCache) -> Draft:
    """Translate messages, tools and thinking, which depend on each other."""
    names = name_map(chat.request.tools)
    tools = toolset(chat, names)
    thoughts = replay.thoughts(chat, cache)
    conversation = Conversation(chat, names, id_map(), thoughts or {})
    max_tokens = _max_tokens(chat)
    circumstances = Circumstances(
        max_tokens=max_tokens, forced=tools.forced, prefilled=conversation.prefilled, lost=thoughts is None
    )
    thinking = decide(chat, circumstances)
    if thoughts and not thinking.active:
        conversation = Conversation(chat, names, id_map(), {})
    return Draft(max_tokens, tools, thinking, conversation)


def build(chat: Chat, cache: SignatureCache) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body to send, and the names of the parameters that were dropped; raises 400."""
    parameters.check(chat)
    parts = draft(chat, cache)
    sampling, unsampled = parameters.sampling(chat, thinking=parts.thinking.active)
    stops, unstopped = parameters.stop_sequences(chat.request)
    user, unnamed = parameters.user_id(chat.request)
    tier, untiered = parameters.service_tier(chat.request)
    optional = {
        "system": _system(chat, parts.conversation),
        "tools": parts.tools.tools,
        "tool_choice": parts.tools.choice,
        "thinking": parts.thinking.config,
        "output_config": _output_config(chat, parts),
        "stop_sequences": stops,
        "metadata": {"user_id": user} if user else None,
        "service_tier": tier,
        "cache_control": chat.request.cache_control,
        "stream": chat.stream,
    }
    body = {
        "model": chat.model.upstream_id,
        "max_tokens": parts.max_tokens,
        "messages": [*parts.conversation.turns, *_answer_so_far(chat)],
        **sampling,
        **{name: value for name, value in optional.items() if value},
    }
    hints = parameters.dropped_hints(chat.request)
    return body, (*hints, *unsampled, *unstopped, *unnamed, *untiered, *parts.tools.dropped, *parts.thinking.dropped)


def wants_json_object(chat: Chat) -> bool:
    """JSON of no particular form is asked for by instruction, as Anthropic has no mode for it."""
    match chat.request.response_format:
        case JsonObjectFormat():
            return True
        case JsonSchemaFormat(json_schema=wanted):
            return wanted.schema is None
    return False


def _max_tokens(chat: Chat) -> int:
    limit = chat.output_tokens
    if limit is None:
        limit = chat.model.max_output_tokens or CAUTIOUS_MAX_TOKENS
        limit = min(limit, CAUTIOUS_MAX_TOKENS) if chat.model.traits.output_within_context else limit
    left = limit - chat.paused.spent if chat.paused else limit
    if left < 1:
        raise invalid_request("The answer was paused at its output limit", "max_tokens")
    return left


def _answer_so_far(chat: Chat) -> list[dict[str, Any]]:
    """The turn that was paused, at the end of which Anthropic goes on."""
    return [{"role": "assistant", "content": chat.paused.content}] if chat.paused else []


def _system(chat: Chat, conversation: Conversation) -> list[dict[str, Any]]:
    instruction = [{"type": "text", "text": _JSON_ONLY}] if wants_json_object(chat) else []
    return conversation.system + instruction


def _output_config(chat: Chat, parts: Draft) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if parts.thinking.effort is not None:
        config["effort"] = parts.thinking.effort
    wanted = chat.request.response_format
    if isinstance(wanted, JsonSchemaFormat) and wanted.json_schema.schema is not None:
        if parts.conversation.prefilled:
            raise unsupported_value("A JSON schema and a last assistant message cannot be combined.", "response_format")
        if emulated_schema(chat) is None:
            schema = restrict(
                wanted.json_schema.schema,
                lossless=bool(wanted.json_schema.strict),
                param="response_format.json_schema.schema",
            )
            config["format"] = {"type": "json_schema", "schema": schema}
    return config
