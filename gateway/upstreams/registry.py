"""The adapters of each provider. Another OpenAI-compatible provider is one line here."""

from collections.abc import Mapping

from gateway.upstreams.adapter import Adapter
from gateway.upstreams.anthropic.adapter import AnthropicAdapter
from gateway.upstreams.gemini.adapter import GeminiAdapter
from gateway.upstreams.images.adapter import ImagesAdapter
from gateway.upstreams.images.dialects import MODELARK_IMAGES, XAI_IMAGES
from gateway.upstreams.openai.adapter import OpenAIAdapter
from gateway.upstreams.openai.dialects import MODELARK, NOUS, OPENAI, XAI
from gateway.upstreams.signature_cache import SignatureCache


def adapters(signatures: SignatureCache | None = None) -> Mapping[str, Mapping[str, Adapter]]:
    """New adapters by provider and endpoint, with one signature cache, by default a new one."""
    signatures = SignatureCache() if signatures is None else signatures
    return {
        "openai": {"chat": OpenAIAdapter(OPENAI)},
        "anthropic": {"chat": AnthropicAdapter(signatures)},
        "google": {"chat": GeminiAdapter(signatures)},
        "xai": {"chat": OpenAIAdapter(XAI), "images": ImagesAdapter(XAI_IMAGES)},
        "bytedance": {"chat": OpenAIAdapter(MODELARK), "images": ImagesAdapter(MODELARK_IMAGES)},
        "nous": {"chat": OpenAIAdapter(NOUS)},
    }
