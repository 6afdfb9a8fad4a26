"""Check bodies that the gateway sends against the request types of the vendors' SDKs."""

from collections.abc import Iterator
from typing import Any

from openai.types.image_generate_params import ImageGenerateParamsNonStreaming

from tests.upstreams import anthropic_chats, gemini_chats, openai_chats
from tests.upstreams.sdk_types import check_type
from tools.simulators import ReceivedRequest

# What the vendors document beyond OpenAI's parameters (facts/providers.md 6.5, 7.4).
_PICTURE_EXTRAS = {"watermark", "image"}


def check(vendor: str, received: ReceivedRequest) -> None:
    """Raise unless ``received`` is a request that the vendor's SDK could have made."""
    if vendor == "anthropic":
        anthropic_chats.check_with_sdk(received.json)
    elif vendor == "google":
        gemini_chats.check_with_sdk(received.body)
    elif received.path.endswith("/images/generations"):
        check_type(ImageGenerateParamsNonStreaming, openai_chats.without(received.json, _PICTURE_EXTRAS))
    else:
        openai_chats.check_with_sdk(received.json, vendor)


def strings(value: Any) -> Iterator[str]:
    """Every string in a decoded JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
