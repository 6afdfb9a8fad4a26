"""BytePlus ModelArk: facts/providers.md 7."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from tools.simulators.chat_completions.images import ARK_IMAGES, ImageEndpoint
from tools.simulators.chat_completions.messages import MessageRules
from tools.simulators.chat_completions.parameters import Range, keys
from tools.simulators.chat_completions.rendering import Style
from tools.simulators.chat_completions.vendor import ChatCompletions, Model
from tools.simulators.composition import Answer, Tokens
from tools.simulators.identifiers import Identifiers
from tools.simulators.received import ReceivedRequest
from tools.simulators.refusal import RefusedError, VendorError
from tools.simulators.scenario import ErrorKind
from tools.simulators.vendor import Endpoint

REQUEST_KEYS = keys(
    "messages model max_tokens max_completion_tokens temperature top_p top_k frequency_penalty presence_penalty "
    "repetition_penalty seed n logprobs top_logprobs logit_bias user parallel_tool_calls service_tier stream "
    "stream_options tools tool_choice response_format stop thinking reasoning_effort"
)

TEXT = frozenset({"text"})

MESSAGE_RULES = MessageRules(
    keys={
        "system": frozenset({"role", "content", "name"}),
        "user": frozenset({"role", "content", "name"}),
        "assistant": frozenset(
            {"role", "content", "name", "refusal", "tool_calls", "reasoning_content", "encrypted_content"}
        ),
        "tool": frozenset({"role", "content", "tool_call_id"}),
    },
    parts={
        "system": TEXT,
        "user": frozenset({"text", "image_url", "video_url", "input_audio"}),
        "assistant": TEXT,
        "tool": TEXT,
    },
    image_keys=frozenset({"url", "detail", "image_pixel_limit"}),
    content_missing="The request failed because it is missing `messages.content` parameter.",
)

RANGES = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1),
    "frequency_penalty": Range(-2, 2),
    "presence_penalty": Range(-2, 2),
    "max_tokens": Range(1, 131_072, integer=True),
    "max_completion_tokens": Range(1, 131_072, integer=True),
    "n": Range(1, 8, integer=True),
    "top_logprobs": Range(0, 20, integer=True),
}


ERRORS: Mapping[ErrorKind, VendorError] = {
    "bad_request": VendorError(400, "BadRequest", "InvalidParameter", "The request is invalid."),
    "bad_key": VendorError(
        401, "Unauthorized", "AuthenticationError", "The API key in the request is missing or invalid."
    ),
    "missing_key": VendorError(
        401, "Unauthorized", "AuthenticationError", "The API key in the request is missing or invalid."
    ),
    "permission": VendorError(403, "Forbidden", "AccessDenied", "The request is not allowed for this account."),
    "model_not_found": VendorError(
        404,
        "NotFound",
        "InvalidEndpointOrModel.NotFound",
        "The model or endpoint {model} does not exist or you do not have access to it.",
    ),
    "context_length": VendorError(
        400, "BadRequest", "InvalidParameter", "Input length 230001 exceeds the maximum length 229376 of the model."
    ),
    "content_policy": VendorError(
        400,
        "BadRequest",
        "InputTextSensitiveContentDetected",
        "The request failed because the input text may contain sensitive information.",
    ),
    "too_large": VendorError(413, "BadRequest", "RequestTooLarge", "The request body is too large."),
    "rate_limit": VendorError(
        429,
        "TooManyRequests",
        "RateLimitExceeded.EndpointRPMExceeded",
        "The requests per minute limit of the endpoint is exceeded.",
    ),
    "daily_quota": VendorError(
        429, "TooManyRequests", "QuotaExceeded", "The quota of the account for this model is used up."
    ),
    "billing": VendorError(403, "Forbidden", "AccountOverdueError", "The account has an overdue balance."),
    "overloaded": VendorError(429, "TooManyRequests", "ServerOverloaded", "The service is currently overloaded."),
    "server_error": VendorError(
        500, "InternalServerError", "InternalServiceError", "The service had an internal error."
    ),
    "timeout": VendorError(504, "InternalServerError", "InternalServiceError", "The request timed out."),
}

STYLE = Style(
    role_alone=False,
    role_always=True,
    reasoning="reasoning_content",
    null_content=False,
    choice_fields=(("logprobs", None),),
    fields=(("service_tier", "default"),),
)
EFFORTS = frozenset({"minimal", "low", "medium", "high"})
OWN_CODES = frozenset({"MissingParameter", "ModelNotOpen"})
ENCRYPTING = "seed-2-0-lite-260428"
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def _seed(name: str) -> Model:
    return Model(name=name, context=262_144, reasoning_enabled=True, efforts=EFFORTS, style=STYLE)


MODELS: Mapping[str, Model] = {
    name: _seed(name) for name in ("seed-1-6-250915", "seed-1-8-251228", "seed-2-0-lite-260228", ENCRYPTING)
}


class ModelArk(ChatCompletions):
    name = "bytedance"
    base_path = "/api/v3"
    models = MODELS
    request_keys = REQUEST_KEYS
    message_rules = MESSAGE_RULES
    ranges = RANGES
    errors = ERRORS
    style = STYLE
    limit_keys: ClassVar[Mapping[str, bool]] = {"max_completion_tokens": True, "max_tokens": False}
    default_limit = 4096

    def endpoint(self, received: ReceivedRequest) -> Endpoint | None:
        if received.path == "/api/v3/images/generations":
            return ImageEndpoint(ARK_IMAGES, self.headers).endpoint
        return super().endpoint(received)

    def headers(self, ids: Identifiers) -> tuple[tuple[str, str], ...]:
        return (("X-Request-Id", ids.hex(44)),)

    def error_body(self, error: VendorError, message: str, refused: RefusedError, ids: Identifiers) -> Any:
        text = f"{message} Request id: {ids.hex(44)}"
        code = refused.code if refused.kind == "bad_request" and refused.code in OWN_CODES else error.code
        return {"error": {"code": code, "message": text, "param": refused.param or "", "type": error.type}}

    def answer_id(self, ids: Identifiers) -> str:
        return f"02{ids.digits(15)}{ids.hex(28)}"

    def call_id(self, model: Model, number: int, ids: Identifiers) -> str:
        return f"call_{ids.lower(24)}"

    def reasoning_enabled(self, body: Mapping[str, Any], model: Model) -> bool:
        switched_off = (body.get("thinking") or {}).get("type") == "disabled"
        return not switched_off and body.get("reasoning_effort") != "minimal"

    def last_reasoning(self, model: Model, answer: Answer) -> Mapping[str, Any] | None:
        if model.name != ENCRYPTING or not answer.reasoning:
            return None
        return {"encrypted_content": answer.reasoning.encode().hex()}

    def usage(self, tokens: Tokens, model: Model) -> dict[str, Any]:
        completion = tokens.completion + tokens.reasoning
        return {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": completion,
            "total_tokens": tokens.prompt + completion,
            "prompt_tokens_details": {"cached_tokens": tokens.cached},
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }

    def check_model_rules(self, body: Mapping[str, Any], model: Model) -> None:
        _check_thinking(body, model)
        _check_format(body, model)
        _check_audio(body, model)
        if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
            raise RefusedError(
                "max_tokens and max_completion_tokens can not be set at the same time.", param="max_tokens"
            )
        stop = body.get("stop")
        if stop is not None and self.reasoning_enabled(body, model):
            raise RefusedError("stop is not supported by a model that is thinking.", param="stop")
        if isinstance(stop, list) and len(stop) > 4:
            raise RefusedError("stop takes at most 4 sequences.", param="stop")
        if body.get("service_tier") not in (None, "default", "flex", "auto"):
            raise RefusedError("service_tier must be one of default, flex.", param="service_tier")
        if unknown := (body.get("stream_options") or {}).keys() - {"include_usage", "chunk_include_usage"}:
            raise RefusedError(f"unknown stream option {min(unknown)}.", param="stream_options")


def _check_thinking(body: Mapping[str, Any], model: Model) -> None:
    effort, thinking = body.get("reasoning_effort"), body.get("thinking")
    if effort is not None and effort not in model.efforts:
        raise RefusedError(f"reasoning_effort {effort} is not supported by this model.", param="reasoning_effort")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) and thinking.keys() == {"type"} else None
    if kind not in ("enabled", "disabled"):
        raise RefusedError("thinking.type must be one of enabled, disabled.", param="thinking.type")
    if kind == "disabled" and effort is not None:
        raise RefusedError("Invalid combination of reasoning_effort and thinking type.", param="reasoning_effort")


def _check_format(body: Mapping[str, Any], model: Model) -> None:
    kind = (body.get("response_format") or {}).get("type", "text")
    if kind == "text" or (kind == "json_schema" and model.name != ENCRYPTING):
        return
    raise RefusedError(f"response_format.type {kind} is not supported by this model.", param="response_format.type")


def _check_audio(body: Mapping[str, Any], model: Model) -> None:
    """Recordings are a URL, or base64 with its format, for seed-2.0 only (7.2)."""
    contents = [message.get("content") for message in body["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    for audio in (part["input_audio"] for part in parts if part["type"] == "input_audio"):
        if not model.name.startswith("seed-2-0"):
            raise RefusedError("input_audio is not supported by this model.", param="messages.content")
        if audio.keys() != {"url"} and (
            audio.keys() != {"data", "format"} or not _BASE64.fullmatch(str(audio["data"]))
        ):
            raise RefusedError("input_audio must have a url, or base64 data and its format.", param="messages.content")
