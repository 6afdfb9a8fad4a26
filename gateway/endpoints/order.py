"""What a request orders: the size and the surcharges that its payment has to cover."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from gateway.billing.payment import Order
from gateway.billing.pricing import PriceTerms
from gateway.billing.unpaid import PaymentsDisabled
from gateway.billing.usage_estimate import prompt_tokens
from gateway.catalog import Provider
from gateway.endpoints.request_body import RequestBody
from gateway.endpoints.resource_url import resource_url
from gateway.openai_api.request import JsonSchemaFormat
from gateway.services import Services
from gateway.upstreams.adapter import Chat
from gateway.upstreams.anthropic import replay
from gateway.upstreams.anthropic.tools import MAX_SEARCHES
from gateway.upstreams.gemini import thought_signatures

_CHEAP_TIERS = frozenset({None, "default", "standard", "standard_only", "flex"})
"""Requested service tiers that are never answered by one that costs more than the standard tier."""
_DEARER_TIERS = ("priority",)
_ESCAPED_ASCII = b"\\u00"
"""How JSON can write a letter of a name in another way."""
_NAMES = re.compile(rb'"(cache_control|file|input_audio|reasoning_details|video_url)"')
"""What the price of a request depends on. One search for all of them takes a third of the time of one for each."""
_AUDIBLE = frozenset({b"file", b"input_audio", b"video_url"})
_REASONING_FORMATS = {"anthropic": replay.FORMAT, "google": thought_signatures.FORMAT}
"""By provider: how the reasoning is marked that only this provider's models are sent."""


def payment_order(services: Services, request: web.BaseRequest, body: RequestBody, chats: Sequence[Chat]) -> Order:
    """What is to be paid for; with payments off, what only a quote needs is left out."""
    first, calls = chats[0], len(chats)
    choices = first.request.choices
    order = Order(
        path=request.path,
        model=first.model,
        prompt_tokens=0,
        output_tokens=first.request.output_tokens,
        choices=choices * calls,
        images=choices if "image" in first.model.outputs else 0,
        stream=first.stream,
        headers={},
        resource_url="",
    )
    if isinstance(services.payments, PaymentsDisabled):
        return order
    provider, names = services.catalog.providers[first.model.provider], _names(body)
    read = _with_own_reasoning(body.json, provider.id) if b"reasoning_details" in names else body.json
    return msgspec.structs.replace(
        order,
        prompt_tokens=_most_prompt_tokens(read, first, provider, calls),
        headers=request.headers,
        resource_url=resource_url(request, enclave=services.settings.enclave),
        price_terms=_price_terms(names, first, calls, provider.search_tokens),
    )


def _most_prompt_tokens(read: dict[str, Any], chat: Chat, provider: Provider, calls: int) -> int:
    """An upper bound of the prompt tokens of all calls, of which ``read`` is what the model reads.

    One token per two bytes of text is one for all but contrived prompts; the charge never exceeds the quote.
    """
    has_tools = chat.request.tools or isinstance(chat.request.response_format, JsonSchemaFormat)
    added_tokens = provider.call_tokens + (provider.tool_tokens if has_tools else 0)
    return 2 * prompt_tokens(read, chat.model.image_tokens) + added_tokens * calls


def _names(body: RequestBody) -> frozenset[bytes]:
    """Those of ``_NAMES`` that are names, or texts, in ``body``."""
    return frozenset(_NAMES.findall(body.raw if _ESCAPED_ASCII not in body.raw else msgspec.json.encode(body.json)))


def _with_own_reasoning(body: dict[str, Any], provider: str) -> dict[str, Any]:
    """``body`` without the reasoning that ``provider`` does not read as text.

    That is other vendors', and the signatures of images, of 1.4 MB each (facts/providers.md 1.5): the images themselves
    are counted. Only answers are changed: in other messages the key is unknown, and its value unchecked.
    """
    foreign = tuple(format_ for owner, format_ in _REASONING_FORMATS.items() if owner != provider)
    messages = [
        message | {"reasoning_details": [detail for detail in details if _is_read(detail, foreign)]}
        if message["role"] == "assistant" and (details := message.get("reasoning_details"))
        else message
        for message in body.get("messages", ())
    ]
    return body | {"messages": messages}


def _is_read(detail: dict[str, Any], foreign: tuple[str, ...]) -> bool:
    marked = detail.get("format") or ""
    of_image = marked.startswith(thought_signatures.FORMAT) and (detail.get("id") or "").startswith(
        thought_signatures.IMAGE
    )
    return not (of_image or marked.startswith(foreign))


def _price_terms(names: frozenset[bytes], chat: Chat, calls: int, search_tokens: int) -> PriceTerms:
    """The surcharges that this request can cause; others are not quoted."""
    chat_request = chat.request
    searches = bool(chat_request.web_search) or chat_request.web_search_options is not None
    return PriceTerms(
        tiers=() if chat_request.service_tier in _CHEAP_TIERS else _DEARER_TIERS,
        regions=(),
        cache_writes=b"cache_control" in names,
        audio=not names.isdisjoint(_AUDIBLE),
        web_searches=MAX_SEARCHES if searches else 0,
        search_tokens=search_tokens,
        calls=calls,
    )
