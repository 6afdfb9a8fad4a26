"""Which reasoning of earlier answers a request is quoted for."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.catalog import bundled
from gateway.endpoints.order import payment_order
from gateway.endpoints.request_body import RequestBody
from gateway.openai_api.completion import chat_bodies, parse_completion
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Chat

CLAUDE = {"type": "reasoning.text", "text": "x" * 4000, "signature": "c2ln", "format": "anthropic-claude-v1"}
GEMINI = {"type": "reasoning.encrypted", "data": "x" * 4000, "format": "google-gemini-v1"}
OTHER = {"type": "reasoning.summary", "summary": "x" * 4000, "format": None}
IMAGE = GEMINI | {"id": "picture_0"}


class Services:
    """What an order is made with, payments required."""

    catalog = bundled()
    payments = object()
    settings = SimpleNamespace(enclave=False)


def quoted(model: str, *details: dict[str, Any], question: Any = None) -> int:
    """Prompt tokens of a conversation whose answer carries ``details``, and its question ``question`` as such."""
    answer = {"role": "assistant", "content": "Here.", "reasoning_details": list(details)}
    asked = {"role": "user", "content": "Hi", "reasoning_details": question}
    body = {"model": model, "messages": [asked, answer, {"role": "user", "content": "Hi"}]}
    return ordered(body, body)


def ordered(body: dict[str, Any], chat_body: dict[str, Any]) -> int:
    """Prompt tokens of the request ``body``, which is translated to ``chat_body``."""
    services: Any = Services
    request = make_mocked_request("POST", "/v1/chat/completions", headers={"Host": "gateway.example"})
    chat = Chat(chat_body, parse_chat(chat_body), services.catalog.find(body["model"]))
    return payment_order(services, request, RequestBody(msgspec.json.encode(body), body), [chat]).prompt_tokens


@pytest.mark.parametrize(
    ("model", "read"),
    [
        ("gpt-4.1", [OTHER]),
        ("grok-4.3", [OTHER]),
        ("claude-sonnet-4-6", [CLAUDE, OTHER]),
        ("gemini-3.5-flash", [GEMINI, OTHER]),
        ("gemini-3.1-flash-image", [GEMINI, OTHER]),
    ],
)
def test_reasoning_that_only_another_vendor_reads_is_not_quoted(model: str, read: list[dict[str, Any]]) -> None:
    """Nor are signatures of images, of which one was quoted above what any request may cost."""
    without = quoted(model)
    for detail in (CLAUDE, GEMINI, OTHER, IMAGE):
        assert (quoted(model, detail) > without + 2000) is (detail in read)
    assert quoted(model, CLAUDE, GEMINI, OTHER, IMAGE) == quoted(model, *read)


@pytest.mark.parametrize("unknown", ["text", 5, True, {"a": 1}, ["text"], [None], [{"format": 5}], [CLAUDE]])
def test_the_key_of_reasoning_may_have_any_value_in_other_messages(unknown: Any) -> None:
    """It is ignored there, as every unknown key of a message is."""
    assert quoted("gpt-4.1", OTHER, CLAUDE, question=unknown) >= quoted("gpt-4.1", OTHER)


def test_a_legacy_prompt_may_be_the_name_of_that_key() -> None:
    body = {"model": "gpt-4.1", "prompt": "reasoning_details"}
    [chat_body] = chat_bodies(body, parse_completion(body))
    assert ordered(body, chat_body) >= 10
