"""The adapter of ``POST /images/generations``, for image models that are used as chat models.

The upstream request is never streamed; a streaming caller gets the deltas of the complete response.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from gateway.openai_api.deltas import Delta, Finish, Image, UpstreamMetadata
from gateway.openai_api.errors import (
    GatewayError,
    content_policy_violation,
    invalid_request,
    unsupported_parameter,
    unsupported_value,
    upstream_error,
)
from gateway.openai_api.request import ChatRequest, TextFormat
from gateway.openai_api.usage import Usage
from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.error_rules import map_error
from gateway.upstreams.images.dialects import ImagesDialect
from gateway.upstreams.images.prompt import prompt, references
from gateway.upstreams.images.wire import ImagesResponse, decode
from gateway.upstreams.sse import Event
from gateway.upstreams.vendor_errors import VendorError, parse, parse_embedded

_UNSUPPORTED = (
    "tools",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "audio",
    "thinking",
    "web_search",
)
# Hints that apply to text only.
_DROPPED = (
    "cache_control",
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "repetition_penalty",
    "safety_identifier",
    "safety_settings",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "tool_choice",
    "top_k",
    "top_p",
    "user",
    "verbosity",
)


class ImagesAdapter:
    """Image generation; every image is a choice of its own."""

    def __init__(self, dialect: ImagesDialect) -> None:
        self._dialect = dialect

    def auth_headers(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def remote_files(self, chat: Chat) -> Iterable[str]:
        return ()

    def build_request(self, chat: Chat) -> UpstreamCall:
        _check(chat.request)
        body: dict[str, Any] = {
            "model": chat.model.upstream_id,
            "prompt": prompt(chat.request.messages),
            "response_format": "b64_json",
            **self._dialect.fixed,
            **self._size(chat.request),
            **self._count(chat),
        }
        if images := references(chat.request.messages, self._dialect.references):
            body["image"] = images[0] if len(images) == 1 else images
        dropped = [name for name in _DROPPED if getattr(chat.request, name) is not None]
        dropped += message_hints.find(chat.body["messages"])
        return UpstreamCall("/images/generations", msgspec.json.encode(body), stream=False, dropped=tuple(dropped))

    def decode_response(self, chat: Chat, body: bytes) -> Iterator[Delta]:
        response = decode(body)
        if response.error:
            raise map_error(self._dialect.errors, parse_embedded(msgspec.structs.asdict(response)))
        images = [item.image for item in response.data or ()]
        if not any(images):
            raise self._no_image_error(response)
        yield UpstreamMetadata(model=response.model)
        for choice, url in enumerate(images):
            if url:
                yield Image(url, choice)
            yield Finish("stop" if url else "content_filter", choice)
        yield Usage(images=sum(map(bool, images)))

    def decoder(self, chat: Chat) -> "NoStreamDecoder":
        return NoStreamDecoder()

    def decode_error(self, chat: Chat, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return map_error(self._dialect.errors, parse(status, headers, body))

    def _no_image_error(self, response: ImagesResponse) -> GatewayError:
        """The error of a response with status 200 but no image; the failure's code decides whose fault it is (7.4)."""
        failure = response.failure
        if failure is None and response.moderated:
            return content_policy_violation("The upstream withheld the image because of its moderation policy")
        if failure is None:
            return upstream_error("upstream_bad_response", "The upstream returned no image")
        code = failure.code or ""
        status = 400 if any(word in code for word in ("Sensitive", "RiskDetection", "Invalid")) else 500
        return map_error(self._dialect.errors, VendorError(status, failure.message or "", code))

    def _size(self, request: ChatRequest) -> dict[str, str]:
        sizes = {}
        for name, value in (request.image_config or {}).items():
            param = f"image_config.{name}"
            if name != "image_size" or not self._dialect.size:
                raise unsupported_parameter(param, request.model)
            if not isinstance(value, str):
                raise invalid_request(f"Invalid '{param}': expected a string.", param)
            sizes[self._dialect.size] = value
        return sizes

    def _count(self, chat: Chat) -> dict[str, int]:
        count, limit = chat.request.choices, chat.model.traits.max_choices if self._dialect.counts else 1
        if count > limit:
            raise unsupported_value(f"'n' must be at most {limit} with this model.", "n")
        return {"n": count} if count > 1 else {}


class NoStreamDecoder:
    """The decoder of an endpoint that is never requested to stream."""

    def feed(self, event: Event) -> Iterable[Delta]:
        raise upstream_error("upstream_bad_response", "The upstream returned a stream for a request without streaming")

    def finish(self) -> Iterable[Delta]:
        raise upstream_error("upstream_truncated", "The upstream's response ended before it was complete")


def _check(request: ChatRequest) -> None:
    """Raise 400 for what an image endpoint does not support."""
    for name in _UNSUPPORTED:
        if getattr(request, name):
            raise unsupported_parameter(name, request.model)
    if request.web_search_options is not None:
        raise unsupported_parameter("web_search_options", request.model)
    if request.response_format is not None and not isinstance(request.response_format, TextFormat):
        raise unsupported_parameter("response_format", request.model)
    for modality in request.modalities or ():
        if modality not in ("image", "text"):
            raise unsupported_value(f"This model does not produce '{modality}'.", "modalities")
    if request.modalities is not None and "image" not in request.modalities:
        raise unsupported_value("This model generates images; 'modalities' must contain 'image'.", "modalities")
