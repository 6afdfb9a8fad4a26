"""OpenRouter's ``reasoning``, translated to ``reasoning_effort``: claude-code-router sends it to every provider."""

from typing import Any

from gateway.openai_api.errors import GatewayError, invalid_request

Json = dict[str, Any]

_TRANSLATED = ("effort", "enabled")


def reasoning_to_effort(body: Json) -> Json:
    """``body`` with ``reasoning_effort`` for ``reasoning``; the same object if it has none. Raises 400.

    A ``reasoning_effort`` of its own takes precedence. An ill-typed ``reasoning`` is passed through: the validation
    that follows reports it.
    """
    reasoning = body.get("reasoning")
    if not isinstance(reasoning, dict):
        return body
    for name, value in reasoning.items():
        if value and name not in _TRANSLATED:
            param = f"reasoning.{name[:64]}"
            raise invalid_request(f"Unsupported parameter: '{param}'.", param, "unsupported_parameter")
    translated = {name: value for name, value in body.items() if name != "reasoning"}
    if translated.get("reasoning_effort") is None:
        translated["reasoning_effort"] = _effort(reasoning)
    return translated


def _effort(reasoning: Json) -> Any:
    """OpenRouter's default is ``medium``."""
    match reasoning.get("enabled"):
        case False:
            return "none"
        case True:
            return reasoning.get("effort") or "medium"
    return reasoning.get("effort")


def with_reasoning_param(error: GatewayError, sent: Json) -> GatewayError:
    """``error`` about the translated request, rewritten in terms of ``sent``."""
    if error.param == "reasoning_effort" and sent.get("reasoning_effort") is None and sent.get("reasoning"):
        error.param = "reasoning.effort"
        error.message = error.message.replace("reasoning_effort", error.param)
    return error
