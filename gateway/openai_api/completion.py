"""The legacy completion request, translated to chat requests (facts/providers.md 1.7).

No model of the catalogue has a native legacy endpoint, so every prompt becomes one user message.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.openai_api.conversion import convert
from gateway.openai_api.errors import invalid_request, unsupported_parameter
from gateway.openai_api.request import Penalty, StreamOptions, TokenCount

DEFAULT_MAX_TOKENS = 16
MAX_PROMPTS = 32
MAX_ECHO_CHARACTERS = 4 * 1024 * 1024
"""Limit on the prompts that ``echo`` repeats before each choice; they are not metered, but signed: in six times as many
bytes, if they are not ASCII."""
MAX_SHARED_BYTES = 64 * 1024
"""Limit on the parameters beside several prompts, as JSON: each prompt's own request repeats them."""
_SHARED = (
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "n",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "user",
    "web_search",
    "repetition_penalty",
)


class CompletionRequest(msgspec.Struct, kw_only=True):
    """OpenAI's legacy parameters, and two extras.

    ``web_search`` is the OpenGradient SDK's; vLLM's benchmark always sends ``repetition_penalty``.
    """

    model: Annotated[str, Meta(min_length=1)]
    prompt: str | list[Any]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenCount | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None
    logprobs: int | None = None
    web_search: bool | None = None
    repetition_penalty: float | None = None

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


def parse_completion(body: dict[str, Any]) -> CompletionRequest:
    """Validate ``body``; raises 400 naming a parameter that is invalid or that chat models do not support."""
    request = convert(body, CompletionRequest)
    if isinstance(request.prompt, list):
        _check_prompts(request.prompt)
    if request.suffix:
        raise unsupported_parameter("suffix", request.model)
    if request.logprobs is not None:
        raise unsupported_parameter("logprobs", request.model)
    if request.echo and (request.n or 1) * sum(map(len, request.prompts)) > MAX_ECHO_CHARACTERS:
        raise invalid_request(
            f"With 'echo', the prompts of all choices must not exceed {MAX_ECHO_CHARACTERS} characters together.",
            "echo",
        )
    if (request.best_of or 1) > (request.n or 1):
        raise unsupported_parameter("best_of", request.model)
    if request.stream_options is not None and not request.stream:
        raise invalid_request("'stream_options' is only allowed when 'stream' is true.", "stream_options")
    return request


def chat_bodies(body: dict[str, Any], request: CompletionRequest) -> list[dict[str, Any]]:
    """One chat request body per prompt. Raises 400 for parameters too long to be repeated."""
    shared = {name: body[name] for name in _SHARED if body.get(name) is not None}
    if len(request.prompts) > 1 and len(msgspec.json.encode(shared)) > MAX_SHARED_BYTES:
        raise invalid_request(
            f"With several prompts, the other parameters must not exceed {MAX_SHARED_BYTES} bytes together.", "prompt"
        )
    shared["max_tokens"] = request.max_tokens or DEFAULT_MAX_TOKENS
    return [{**shared, "messages": [{"role": "user", "content": prompt}]} for prompt in request.prompts]


def _check_prompts(prompts: list[Any]) -> None:
    if not prompts:
        raise invalid_request("Invalid 'prompt': it must not be an empty list.", "prompt", "empty_array")
    if len(prompts) > MAX_PROMPTS:
        raise invalid_request(f"At most {MAX_PROMPTS} prompts are supported.", "prompt", "array_above_max_length")
    for position, prompt in enumerate(prompts):
        if isinstance(prompt, int | list):
            raise invalid_request(
                "Token arrays are not supported; 'prompt' must be a string or an array of strings.",
                "prompt",
                "unsupported_value",
            )
        if not isinstance(prompt, str):
            raise invalid_request("A prompt must be a string.", f"prompt[{position}]", "invalid_type")
