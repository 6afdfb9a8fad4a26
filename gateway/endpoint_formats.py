"""How chat completions and legacy completions differ: signed bytes, answer shape, stream chunks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.envelope import canonical_chat_request, canonical_completion_request
from gateway.identifiers import new_id
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.function_calls import FunctionCallChunkEncoder, choices_with_function_calls
from gateway.openai_api.stream import ChatChunkEncoder, TextChunkEncoder

Choices = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class EndpointFormat:
    """One endpoint's format. ``canonical`` gives the signed bytes of a request, ``extras`` further top-level keys."""

    id_prefix: str
    object: str
    canonical: Callable[[Mapping[str, Any]], bytes]
    choices: Callable[[Assembler], Choices]
    encoder: type[ChatChunkEncoder] | type[TextChunkEncoder]
    extras: Callable[[Choices], dict[str, Any]]

    def new_id(self) -> str:
        return self.id_prefix + new_id()


def _no_extras(choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {}


def _completion(choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The OpenGradient SDK reads a legacy answer's text from the top level (facts/x402.md 2.4)."""
    return {"completion": choices[0]["text"] if choices else ""}


CHAT = EndpointFormat(
    id_prefix="chatcmpl-",
    object="chat.completion",
    canonical=canonical_chat_request,
    choices=Assembler.choices,
    encoder=ChatChunkEncoder,
    extras=_no_extras,
)
FUNCTIONS = replace(CHAT, choices=choices_with_function_calls, encoder=FunctionCallChunkEncoder)
"""Chats with legacy ``functions``."""
COMPLETION = EndpointFormat(
    id_prefix="cmpl-",
    object="text_completion",
    canonical=canonical_completion_request,
    choices=Assembler.texts,
    encoder=TextChunkEncoder,
    extras=_completion,
)
