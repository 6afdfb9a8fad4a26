"""The body of generateContent and streamGenerateContent (facts/providers.md 5.2)."""

from typing import Any

from gateway.upstreams.adapter import Chat
from gateway.upstreams.gemini import parameters, tools
from gateway.upstreams.gemini.messages import Contents
from gateway.upstreams.signature_cache import SignatureCache


def build(chat: Chat, signatures: SignatureCache) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request body, and the names of the dropped parameters. Raises 400."""
    parameters.check(chat)
    request = chat.request
    contents = Contents(chat, signatures)
    body: dict[str, Any] = {"contents": contents.turns}
    if contents.system:
        body["systemInstruction"] = {"parts": contents.system}
    body |= tools.translate(chat)
    if config := parameters.generation_config(chat):
        body["generationConfig"] = config
    if request.safety_settings:
        body["safetySettings"] = request.safety_settings
    if request.service_tier is not None and (tier := parameters.service_tier(request.service_tier)):
        body["serviceTier"] = tier
    if request.store is False:
        body["store"] = False
    return body, parameters.dropped(chat)
