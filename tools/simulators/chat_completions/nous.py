"""Nous Portal: facts/providers.md 8. A request without a key gets a 402 with an x402 body."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from tools.simulators.chat_completions.messages import MessageRules
from tools.simulators.chat_completions.openai_errors import ERRORS as OPENAI_ERRORS
from tools.simulators.chat_completions.parameters import Range, keys
from tools.simulators.chat_completions.rendering import Style
from tools.simulators.chat_completions.vendor import ChatCompletions, Model, message_text
from tools.simulators.composition import Tokens
from tools.simulators.delivery import Reply
from tools.simulators.identifiers import CREATED, Identifiers
from tools.simulators.received import ReceivedRequest
from tools.simulators.refusal import RefusedError, VendorError
from tools.simulators.scenario import ErrorKind
from tools.simulators.vendor import JSON_TYPE, Endpoint, Exchange

SAMPLING_KEYS = keys(
    "frequency_penalty include_reasoning max_tokens presence_penalty reasoning repetition_penalty response_format stop "
    "temperature tool_choice tools top_k top_p"
)
REQUEST_KEYS = SAMPLING_KEYS | {"messages", "model", "stream", "stream_options", "tags"}

TEXT = frozenset({"text"})

MESSAGE_RULES = MessageRules(
    keys={
        "system": frozenset({"role", "content"}),
        "user": frozenset({"role", "content"}),
        "assistant": frozenset({"role", "content", "tool_calls"}),
        "tool": frozenset({"role", "content", "tool_call_id"}),
    },
    parts={"system": TEXT, "user": TEXT, "assistant": TEXT, "tool": TEXT},
)

RANGES = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1),
    "frequency_penalty": Range(-2, 2),
    "presence_penalty": Range(-2, 2),
    "max_tokens": Range(1, 131_072, integer=True),
}

ERRORS: Mapping[ErrorKind, VendorError] = {
    **OPENAI_ERRORS,
    "bad_key": VendorError(401, "invalid_request_error", "invalid_api_key", "Invalid API key."),
    "missing_key": VendorError(402, None, None, "Payment required"),
    "billing": VendorError(402, None, None, "Payment required"),
    "context_length": VendorError(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 131072 tokens. However, your request has more input tokens.",
    ),
    "content_policy": VendorError(400, "invalid_request_error", None, "The request was refused."),
    "rate_limit": VendorError(429, "rate_limit_error", "rate_limit_exceeded", "Rate limit exceeded."),
    "daily_quota": VendorError(429, "rate_limit_error", "rate_limit_exceeded", "Daily limit exceeded."),
}

STYLE = Style(reasoning="think_tags", choice_fields=(("logprobs", None),))

MODELS: Mapping[str, Model] = {
    name: Model(name=name, context=131_072) for name in ("nousresearch/hermes-4-405b", "nousresearch/hermes-4-70b")
}

PRICES = {
    "nousresearch/hermes-4-405b": {"prompt": "0.000001", "completion": "0.000003", "input_cache_read": "0.0000001"},
    "nousresearch/hermes-4-70b": {"prompt": "0.00000013", "completion": "0.0000004", "input_cache_read": "0.000000055"},
}

PAYMENT = {
    "x402Version": 1,
    "accepts": [
        {
            "scheme": "exact",
            "network": "base",
            "maxAmountRequired": "10000",
            "resource": "https://inference-api.nousresearch.com/v1/chat/completions",
            "description": "Chat completion",
            "mimeType": "application/json",
            "payTo": "0x000000000000000000000000000000000000dEaD",
            "maxTimeoutSeconds": 60,
            "asset": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
            "extra": {"name": "USD Coin", "version": "2"},
        }
    ],
    "error": "X-PAYMENT header is required",
}


class Nous(ChatCompletions):
    name = "nous"
    base_path = "/v1"
    models = MODELS
    request_keys = REQUEST_KEYS
    message_rules = MESSAGE_RULES
    ranges = RANGES
    errors = ERRORS
    style = STYLE
    limit_keys: ClassVar[Mapping[str, bool]] = {"max_tokens": True}
    wants_tags: ClassVar[bool] = True

    def endpoint(self, received: ReceivedRequest) -> Endpoint | None:
        if received.path == "/v1/models":
            return Endpoint(self.list_models, lambda body: "", method="GET", public=True)
        return super().endpoint(received)

    def list_models(self, exchange: Exchange) -> Reply:
        models = [
            {
                "id": name,
                "object": "model",
                "created": CREATED,
                "name": name,
                "context_length": model.context,
                "pricing": PRICES[name],
                "supported_parameters": sorted(SAMPLING_KEYS),
            }
            for name, model in MODELS.items()
        ]
        body = msgspec.json.encode({"object": "list", "data": models})
        return Reply(status=200, headers=(("Content-Type", JSON_TYPE),), events=(body,), scenario=exchange.scenario)

    def headers(self, ids: Identifiers) -> tuple[tuple[str, str], ...]:
        return (("x-request-id", ids.uuid()),)

    def error_body(self, error: VendorError, message: str, refused: RefusedError, ids: Identifiers) -> Any:
        if error.status == 402:
            return PAYMENT
        code = refused.code if refused.kind == "bad_request" else error.code
        return {"error": {"message": message, "type": error.type, "param": refused.param, "code": code}}

    def call_id(self, model: Model, number: int, ids: Identifiers) -> str:
        return f"chatcmpl-tool-{ids.hex(32)}"

    def reasoning_enabled(self, body: Mapping[str, Any], model: Model) -> bool:
        """Requested in the system prompt, or with `reasoning.enabled`."""
        requested = any("<think>" in message_text(m.get("content")) for m in body["messages"] if m["role"] == "system")
        return requested or (body.get("reasoning") or {}).get("enabled") is True

    def usage(self, tokens: Tokens, model: Model) -> dict[str, Any]:
        completion = tokens.completion + tokens.reasoning
        return {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": completion,
            "total_tokens": tokens.prompt + completion,
            "prompt_tokens_details": {"cached_tokens": tokens.cached} if tokens.cached else None,
        }

    def check_model_rules(self, body: Mapping[str, Any], model: Model) -> None:
        tags = body.get("tags")
        tagged = isinstance(tags, list) and any(isinstance(tag, str) and tag.startswith("user=") for tag in tags)
        if self.wants_tags and not tagged:
            raise RefusedError(
                "This request is not valid. Check the model name and other parameters. Additional info: missing tags"
            )
        kind = (body.get("response_format") or {}).get("type", "text")
        if kind not in ("text", "json_object", "json_schema"):
            raise RefusedError(f"Invalid response_format type {kind!r}.", param="response_format.type")
        if unknown := (body.get("stream_options") or {}).keys() - {"include_usage"}:
            raise RefusedError(f"Unknown stream option {min(unknown)!r}.", param="stream_options")
