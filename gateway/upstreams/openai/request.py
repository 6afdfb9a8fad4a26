"""The body of ``POST /chat/completions``: the caller's own, without what the vendor does not support."""

from typing import Any

from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat
from gateway.upstreams.openai import parameters, tools
from gateway.upstreams.openai.dialects import Dialect
from gateway.upstreams.openai.messages import translate_messages

_DEFAULT_USER = "tee-gateway"


def build(dialect: Dialect, chat: Chat) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request body, and the names of the dropped parameters. Raises 400.

    Hints are looked for only in messages and tools that are not sent as they are: a comparison is cheaper.
    """
    names = tools.tool_names(chat.request.tools) if chat.request.tools else None
    body: dict[str, Any] = {
        "model": chat.model.upstream_id,
        "messages": translate_messages(dialect, chat, names),
    }
    dropped = parameters.apply(dialect, chat, body)
    if dialect.user_tag:
        body["tags"] = [f"user={chat.request.user or _DEFAULT_USER}"]
    if chat.request.tools:
        dropped += tools.apply(dialect, chat, body, names)
    if body["messages"] != chat.body["messages"]:
        dropped += message_hints.in_messages(chat.body["messages"], _supported_hints(dialect))
    _limit_output(dialect, chat, body)
    if chat.stream:
        body["stream"] = True
        body["stream_options"] = dict(dialect.stream_options)
    return body, dropped


def _supported_hints(dialect: Dialect) -> frozenset[str]:
    names = (message_hints.NAME,) if dialect.message_names else ()
    return frozenset((message_hints.DETAIL, *names))


def _limit_output(dialect: Dialect, chat: Chat, body: dict[str, Any]) -> None:
    tokens = chat.output_tokens
    if dialect.output_limit == "always" and tokens is None:
        tokens = chat.model.max_output_tokens
    if tokens is not None:
        body[_limit_name(dialect, chat)] = tokens


def _limit_name(dialect: Dialect, chat: Chat) -> str:
    match dialect.output_limit:
        case "max_tokens":
            return "max_tokens"
        case "always":
            required = chat.output_limit is not None
        case "by_model":
            required = chat.model.traits.max_completion_tokens
    older = chat.request.max_tokens is not None and chat.request.max_completion_tokens is None
    return "max_tokens" if older and not required else "max_completion_tokens"
