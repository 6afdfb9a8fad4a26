"""Image generation of xAI and ModelArk behind chat completions (facts/providers.md 6.5, 6.6, 7.3, 7.4, 9.2)."""

import base64
from typing import Any

import msgspec
import pytest

from gateway.catalog import bundled
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import UpstreamMetadata
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import parse_chat
from gateway.openai_api.usage import Usage
from gateway.upstreams.adapter import Chat
from gateway.upstreams.images.adapter import ImagesAdapter
from gateway.upstreams.images.dialects import MODELARK_IMAGES, XAI_IMAGES
from gateway.upstreams.sse import Event

GROK, SEEDREAM = "grok-2-image", "seedream-4.0"
ADAPTERS = {GROK: ImagesAdapter(XAI_IMAGES), SEEDREAM: ImagesAdapter(MODELARK_IMAGES)}
BOTH = pytest.mark.parametrize("model", [GROK, SEEDREAM])
CAT = {"role": "user", "content": "A cat"}
PNG = "data:image/png;base64,iVBORw0KGgo="
URL = "https://example.com/a.png"


def chat(model: str, **body: Any) -> Chat:
    body = {"model": model, "messages": [CAT], **body}
    return Chat(body, parse_chat(body), bundled().find(model))


def sent(model: str, **body: Any) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(ADAPTERS[model].build_request(chat(model, **body)).body)
    return decoded


def refusal(model: str, **body: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        ADAPTERS[model].build_request(chat(model, **body))
    assert caught.value.status == 400
    return caught.value


def answered(model: str, answer: dict[str, Any]) -> Assembler:
    assembler = Assembler()
    assembler.extend(ADAPTERS[model].decode_response(chat(model), msgspec.json.encode(answer)))
    return assembler


def failed(model: str, answer: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        answered(model, answer)
    return caught.value


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def picture(url: str = PNG) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


@BOTH
@pytest.mark.parametrize("stream", [True, False])
def test_the_call_is_never_streamed(model: str, stream: bool) -> None:
    call = ADAPTERS[model].build_request(chat(model, stream=stream))
    assert (call.path, call.stream, call.dropped) == ("/images/generations", False, ())
    assert ADAPTERS[model].auth_headers("k") == {"Authorization": "Bearer k"}
    assert list(ADAPTERS[model].remote_files(chat(model))) == []


def test_bodies() -> None:
    assert sent(GROK) == {"model": "grok-2-image", "prompt": "A cat", "response_format": "b64_json"}
    assert sent(SEEDREAM) == {
        "model": "seedream-4-0-250828",
        "prompt": "A cat",
        "response_format": "b64_json",
        "watermark": False,
    }


@BOTH
def test_the_prompt_is_the_last_user_message_after_the_system_texts(model: str) -> None:
    messages = [
        {"role": "system", "content": [text("Oil"), text("on canvas.")]},
        {"role": "user", "content": "A dog"},
        {"role": "assistant", "content": "Here.", "images": []},
        {"role": "developer", "content": " No people. "},
        user(text("Now a "), text(" "), text("cat")),
    ]
    assert sent(model, messages=messages)["prompt"] == "Oil\n\non canvas.\n\nNo people.\n\nNow a\n\ncat"


@BOTH
@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "system", "content": "Draw."}], "messages"),
        ([{"role": "assistant", "content": "Hi"}], "messages"),
        ([CAT, {"role": "user", "content": " "}], "messages[1].content"),
        (
            [user(text("x"), {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}})],
            "messages[0].content[1].type",
        ),
        (
            [user(text("x"), {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})],
            "messages[0].content[1].type",
        ),
    ],
)
def test_conversations_that_ask_for_no_picture(model: str, messages: list[dict[str, Any]], param: str) -> None:
    assert refusal(model, messages=messages).param == param


def test_seedream_builds_on_pictures() -> None:
    assert sent(SEEDREAM, messages=[user(text("Bluer"), picture())])["image"] == PNG
    history = [
        {"role": "user", "content": [text("A cat"), picture("https://example.com/old.png")]},
        {"role": "assistant", "content": "", "images": [PNG, {"type": "image_url", "image_url": {"url": URL}}, {}]},
        user(text("Mix them"), picture("https://example.com/new.png")),
    ]
    assert sent(SEEDREAM, messages=history)["image"] == [PNG, URL, "https://example.com/new.png"]


def test_seedream_takes_ten_pictures_the_newest_first_to_stay() -> None:
    earlier = [f"https://example.com/{number}.png" for number in range(12)]
    history = [{"role": "assistant", "content": "", "images": earlier}, user(text("Mix"), picture(), picture())]
    assert sent(SEEDREAM, messages=history)["image"] == [*earlier[4:], PNG, PNG]
    full = [{"role": "assistant", "content": "", "images": earlier}, user(text("Mix"), *[picture()] * 10)]
    assert sent(SEEDREAM, messages=full)["image"] == [PNG] * 10
    error = refusal(SEEDREAM, messages=[user(text("Mix"), *[picture()] * 11)])
    assert error.param == "messages[0].content[11].image_url"


def test_grok_takes_no_pictures_and_forgets_its_own() -> None:
    error = refusal(GROK, messages=[user(text("Bluer"), picture())])
    assert error.param == "messages[0].content[1].image_url"
    history = [CAT, {"role": "assistant", "content": "", "images": [PNG]}, {"role": "user", "content": "Bluer"}]
    assert "image" not in sent(GROK, messages=history)


@BOTH
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"web_search": True}, "web_search"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"modalities": ["text"]}, "modalities"),
        ({"modalities": ["image", "audio"]}, "modalities"),
        ({"n": 11}, "n"),
        ({"image_config": {"aspect_ratio": "1:1"}}, "image_config.aspect_ratio"),
    ],
)
def test_what_a_picture_endpoint_cannot_do(model: str, body: dict[str, Any], param: str) -> None:
    assert refusal(model, **body).param == param


def test_the_number_of_pictures() -> None:
    assert sent(GROK, n=10)["n"] == 10
    assert "n" not in sent(GROK, n=1)
    assert "n" not in sent(SEEDREAM, n=1)
    assert refusal(SEEDREAM, n=2).param == "n"


def test_the_size_of_a_picture() -> None:
    assert sent(SEEDREAM, image_config={"image_size": "4K"})["size"] == "4K"
    assert refusal(SEEDREAM, image_config={"image_size": 4}).param == "image_config.image_size"
    assert refusal(GROK, image_config={"image_size": "1K"}).param == "image_config.image_size"


@BOTH
def test_what_steers_text_is_dropped_and_named(model: str) -> None:
    hints: dict[str, Any] = {
        "temperature": 0.5,
        "max_tokens": 16,
        "stop": ["x"],
        "seed": 1,
        "user": "u",
        "store": False,
    }
    call = ADAPTERS[model].build_request(
        chat(model, **hints, modalities=["text", "image"], response_format={"type": "text"})
    )
    assert set(call.dropped) == set(hints)
    assert sorted(msgspec.json.decode(call.body)) == sorted(sent(model))


def b64(head: bytes) -> str:
    return base64.b64encode(head + bytes(60)).decode()


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF0000WEBPVP8 ", "image/webp"),
        (b"????", "image/jpeg"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_picture_goes_by_its_real_type(head: bytes, media_type: str, prefix: str) -> None:
    answer = answered(GROK, {"data": [{"b64_json": prefix + b64(head), "revised_prompt": "A fine cat"}]})
    [choice] = answer.choices()
    assert choice["message"] == {
        "role": "assistant",
        "content": "",
        "refusal": None,
        "images": [f"data:{media_type};base64,{b64(head)}"],
    }
    assert choice["finish_reason"] == "stop"
    assert answer.usage == Usage(images=1)


def test_the_claimed_type_counts_when_the_bytes_say_nothing() -> None:
    answer = answered(GROK, {"data": [{"b64_json": b64(b"????"), "mime_type": "image/avif"}]})
    assert answer.images == [f"data:image/avif;base64,{b64(b'????')}"]


def test_an_answer_of_seedream() -> None:
    usage = {"generated_images": 1, "output_tokens": 16_384, "total_tokens": 16_384}
    answer = answered(SEEDREAM, {"model": "seedream-4-0-250828", "created": 1, "data": [{"url": URL}], "usage": usage})
    assert answer.images == [URL]
    assert answer.metadata == UpstreamMetadata(model="seedream-4-0-250828")
    assert answer.usage == Usage(images=1)


def test_only_what_was_delivered_is_counted() -> None:
    jpeg = b64(b"\xff\xd8\xff")
    failure = {"error": {"code": "OutputImageSensitiveContentDetected", "message": "no"}}
    answer = answered(GROK, {"data": [{"b64_json": jpeg}, failure, {"b64_json": jpeg}]})
    assert answer.finish_reasons() == {0: "stop", 1: "content_filter", 2: "stop"}
    assert ["images" in choice["message"] for choice in answer.choices()] == [True, False, True]
    assert answer.usage == Usage(images=2)


def test_seedream_answers_one_choice_with_what_was_delivered() -> None:
    jpeg = b64(b"\xff\xd8\xff")
    failure = {"error": {"code": "OutputImageSensitiveContentDetected", "message": "no"}}
    answer = answered(SEEDREAM, {"data": [failure, {"b64_json": jpeg}, {"url": URL}]})
    [choice] = answer.choices()
    assert choice["message"]["images"] == [f"data:image/jpeg;base64,{jpeg}", URL]
    assert choice["finish_reason"] == "stop"
    assert answer.usage == Usage(images=2)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ({"code": "OutputImageSensitiveContentDetected", "message": "no"}, 400, "content_policy_violation"),
        ({"code": "InputTextSensitiveContentDetected.Policy", "message": "no"}, 400, "content_policy_violation"),
        ({"code": "OutputImageRiskDetection", "message": "no"}, 400, "content_policy_violation"),
        ({"code": "InternalServiceError", "message": "x"}, 502, "upstream_error"),
        ({}, 502, "upstream_error"),
    ],
)
def test_no_picture_at_all_is_an_error(error: dict[str, Any], status: int, code: str) -> None:
    found = failed(SEEDREAM, {"data": [{"error": error}, {"error": {"code": "later"}}]})
    assert (found.status, found.code) == (status, code)


@BOTH
@pytest.mark.parametrize("answer", [{}, {"data": []}, {"data": [{}]}, {"data": None}, {"data": 5}, [], None])
def test_answers_without_pictures(model: str, answer: Any) -> None:
    found = failed(model, answer)
    assert (found.status, found.code) == (502, "upstream_bad_response")


def test_a_picture_that_grok_withholds_is_refused_content() -> None:
    withheld = {"url": "", "respect_moderation": False}
    found = failed(GROK, {"data": [withheld]})
    assert (found.status, found.code) == (400, "content_policy_violation")
    answer = answered(GROK, {"data": [withheld, {"url": URL, "respect_moderation": True}]})
    assert answer.finish_reasons() == {0: "content_filter", 1: "stop"}
    assert answer.usage == Usage(images=1)


@pytest.mark.parametrize("data", ["%%%%", "abc"])
def test_a_picture_that_is_not_base64(data: str) -> None:
    assert failed(GROK, {"data": [{"b64_json": data}]}).code == "upstream_bad_response"


@pytest.mark.parametrize(
    ("model", "answer", "status", "code"),
    [
        (GROK, {"code": "x", "error": "The service is currently unavailable"}, 503, "upstream_overloaded"),
        (GROK, {"code": "invalid-argument", "error": "bad prompt"}, 400, None),
        (SEEDREAM, {"error": {"code": "OutputImageSensitiveContentDetected"}}, 400, "content_policy_violation"),
        (SEEDREAM, {"error": {"code": "InternalServiceError", "message": "x"}}, 502, "upstream_error"),
        (SEEDREAM, {"error": {"code": "ServerOverloaded"}}, 503, "upstream_overloaded"),
        (SEEDREAM, {"error": {"message": "x"}}, 502, "upstream_bad_response"),
    ],
)
def test_an_error_with_status_200(model: str, answer: dict[str, Any], status: int, code: str | None) -> None:
    found = failed(model, answer)
    assert (found.status, found.code) == (status, code)


@pytest.mark.parametrize(
    ("model", "status", "body", "expected", "code"),
    [
        (
            GROK,
            400,
            {"code": "invalid-argument", "error": "Incorrect API key provided: xa***"},
            502,
            "upstream_auth_failed",
        ),
        (GROK, 400, {"code": "invalid-argument", "error": "Argument not supported: size"}, 400, None),
        (
            GROK,
            400,
            {"code": "invalid-argument", "error": "Generated image rejected by content moderation."},
            400,
            "content_policy_violation",
        ),
        (GROK, 429, {"code": "x", "error": "used all available credits"}, 502, "upstream_billing"),
        (GROK, 500, {"code": "x", "error": "Please use grok-imagine-image instead"}, 404, "model_not_found"),
        (GROK, 500, {"code": "x", "error": "internal"}, 502, "upstream_error"),
        (SEEDREAM, 400, {"error": {"code": "InputTextSensitiveContentDetected"}}, 400, "content_policy_violation"),
        (
            SEEDREAM,
            400,
            {"error": {"code": "InvalidParameter", "message": "bad size", "param": "size"}},
            400,
            "InvalidParameter",
        ),
        (SEEDREAM, 401, {"error": {"code": "AuthenticationError"}}, 502, "upstream_auth_failed"),
        (SEEDREAM, 403, {"error": {"code": "AccountOverdueError"}}, 502, "upstream_billing"),
        (SEEDREAM, 404, {"error": {"code": "ModelNotOpen"}}, 404, "model_not_found"),
        (SEEDREAM, 429, {"error": {"code": "ServerOverloaded"}}, 503, "upstream_overloaded"),
        (SEEDREAM, 429, {"error": {"code": "ModelAccountRpmRateLimitExceeded"}}, 429, "rate_limit_exceeded"),
    ],
)
def test_errors(model: str, status: int, body: dict[str, Any], expected: int, code: str | None) -> None:
    found = ADAPTERS[model].decode_error(status, {}, msgspec.json.encode(body))
    assert (found.status, found.code) == (expected, code)


@BOTH
def test_a_stream_that_nobody_asked_for(model: str) -> None:
    decoder = ADAPTERS[model].decoder(chat(model))
    with pytest.raises(GatewayError, match="a stream for a request without streaming"):
        decoder.feed(Event("", b"{}"))
    with pytest.raises(GatewayError, match="before it was complete"):
        decoder.finish()


def test_an_error_beside_bytes_that_are_no_text() -> None:
    answer = b'{"code": "invalid-argument", "error": "bad prompt", "trace": "\xff"}'
    with pytest.raises(GatewayError) as caught:
        list(ADAPTERS[GROK].decode_response(chat(GROK), answer))
    assert (caught.value.status, caught.value.message) == (400, "bad prompt")
