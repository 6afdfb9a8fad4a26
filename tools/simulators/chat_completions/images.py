"""POST /images/generations of xAI (facts/providers.md 6.6) and ModelArk (7.4)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tools.simulators.chat_completions.parameters import keys
from tools.simulators.delivery import Reply
from tools.simulators.identifiers import CREATED, Identifiers
from tools.simulators.refusal import RefusedError
from tools.simulators.sample_images import base64_text, jpeg
from tools.simulators.vendor import JSON_TYPE, Endpoint, Exchange

IMAGE_TICKS = {"grok-2-image-1212": 700_000_000, "grok-imagine-image": 200_000_000}
"""Price of an image in ticks of 1e-10 USD."""
TOKENS_PER_IMAGE = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModel:
    name: str
    keys: frozenset[str]
    retired: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRules:
    models: Mapping[str, ImageModel]
    usage: Callable[[int, str], dict[str, Any]]
    """The fields that report the usage of so many images of a model."""
    max_count: int
    names_model: bool
    """Responses contain `model` and `created`."""
    revised_prompt: bool = False
    mime_type: bool = False
    size: str | None = None
    """Size of each image, reported with it."""
    references: int = 0
    """Maximum number of reference images in a request."""


def _xai_usage(images: int, model: str) -> dict[str, Any]:
    return {"usage": {"cost_in_usd_ticks": images * IMAGE_TICKS[model]}}


def _ark_usage(images: int, model: str) -> dict[str, Any]:
    tokens = images * TOKENS_PER_IMAGE
    return {"usage": {"generated_images": images, "output_tokens": tokens, "total_tokens": tokens}}


BASIC = frozenset({"model", "prompt", "n", "response_format", "user"})
GROK_2_IMAGE = ImageModel(name="grok-2-image-1212", keys=BASIC, retired="shut down 2026-02-24")

XAI_IMAGES = ImageRules(
    models={
        "grok-2-image": GROK_2_IMAGE,
        "grok-2-image-1212": GROK_2_IMAGE,
        "grok-2-image-latest": GROK_2_IMAGE,
        "grok-imagine-image": ImageModel(name="grok-imagine-image", keys=BASIC | {"aspect_ratio", "resolution"}),
    },
    usage=_xai_usage,
    max_count=10,
    names_model=False,
    revised_prompt=True,
    mime_type=True,
)

ARK_IMAGES = ImageRules(
    models={
        "seedream-4-0-250828": ImageModel(
            name="seedream-4-0-250828",
            keys=keys(
                "model prompt image size response_format watermark sequential_image_generation "
                "sequential_image_generation_options optimize_prompt_options stream"
            ),
        )
    },
    usage=_ark_usage,
    max_count=15,
    names_model=True,
    size="2048x2048",
    references=10,
)

SIZE = re.compile(r"[124]K|\d{3,4}x\d{3,4}")


@dataclass(frozen=True, slots=True)
class ImageEndpoint:
    """One vendor's image endpoint; `headers` are those of every response."""

    rules: ImageRules
    headers: Callable[[Identifiers], tuple[tuple[str, str], ...]]

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.answer, _prompt)

    def answer(self, exchange: Exchange) -> Reply:
        body, scenario, rules = exchange.body, exchange.scenario, self.rules
        model = self._model(exchange)
        _check(body, model, rules)
        exchange.fail_if_scripted()
        wanted = body.get("n") or _sequence(body, rules.max_count)
        count = scenario.pictures if scenario.pictures is not None else wanted
        data = [self._picture(exchange, number) for number in range(count)]
        data += [_FAILED] * scenario.failed_pictures
        answer: dict[str, Any] = {"model": model.name, "created": CREATED} if rules.names_model else {}
        answer["data"] = data
        if not scenario.omit_usage:
            answer |= rules.usage(count, model.name)
        reply = Reply(
            status=200,
            headers=(("Content-Type", JSON_TYPE), *self.headers(exchange.ids)),
            events=(msgspec.json.encode(answer),),
            scenario=scenario,
        )
        return reply.with_content_faults(None, end_marker=False)

    def _model(self, exchange: Exchange) -> ImageModel:
        model = self.rules.models.get(str(exchange.body.get("model")))
        if model is None:
            raise RefusedError(kind="model_not_found", param="model")
        if model.retired and not (exchange.serve_retired or exchange.scenario.serve_retired):
            raise RefusedError(f"{model.name} is no longer available, use grok-imagine-image.", kind="server_error")
        return model

    def _picture(self, exchange: Exchange, number: int) -> dict[str, Any]:
        body, rules = exchange.body, self.rules
        seed = int.from_bytes(exchange.ids.octets(3)) + number
        if body.get("response_format", "url") == "b64_json":
            prefix = "data:image/jpeg;base64," if exchange.scenario.picture_prefix else ""
            picture = {"b64_json": prefix + base64_text(jpeg(seed, exchange.scenario.picture_bytes))}
        else:
            picture = {"url": f"https://pictures.example/{seed:06x}.jpeg"}
        if rules.revised_prompt:
            picture["revised_prompt"] = f"A detailed picture of {body['prompt'][:100]}"
        if rules.mime_type:
            picture["mime_type"] = "image/jpeg"
        if rules.size is not None:
            picture["size"] = rules.size
        return picture


_FAILED = {
    "error": {
        "code": "OutputImageSensitiveContentDetected",
        "message": "The request failed because the output image may contain sensitive information.",
    }
}


def _prompt(body: Any) -> str:
    prompt = body.get("prompt") if isinstance(body, dict) else None
    return prompt if isinstance(prompt, str) else ""


def _check(body: Mapping[str, Any], model: ImageModel, rules: ImageRules) -> None:
    if unknown := sorted(body.keys() - model.keys):
        raise RefusedError(f"Argument not supported on this model: {unknown[0]}", param=unknown[0])
    if not _prompt(body):
        raise RefusedError("prompt is required.", param="prompt", code="MissingParameter")
    if body.get("response_format", "url") not in ("url", "b64_json"):
        raise RefusedError("response_format must be url or b64_json.", param="response_format")
    count = body.get("n", 1)
    if not isinstance(count, int) or not 1 <= count <= rules.max_count:
        raise RefusedError(f"n must be between 1 and {rules.max_count}.", param="n")
    size = body.get("size")
    if size is not None and not (isinstance(size, str) and SIZE.fullmatch(size)):
        raise RefusedError("size must be 1K, 2K, 4K or <width>x<height>.", param="size")
    _check_references(body.get("image"), rules)


def _check_references(images: Any, rules: ImageRules) -> None:
    references = images if isinstance(images, list) else [] if images is None else [images]
    if len(references) > rules.references:
        raise RefusedError(f"at most {rules.references} reference images are supported.", param="image")
    for reference in references:
        if not isinstance(reference, str) or not reference.startswith(("https://", "http://", "data:image/")):
            raise RefusedError("image must be a URL or a data URI.", param="image")


def _sequence(body: Mapping[str, Any], max_count: int) -> int:
    """The number of images without `n`: ModelArk generates several only in sequential mode."""
    if body.get("sequential_image_generation") != "auto":
        return 1
    options = body.get("sequential_image_generation_options") or {}
    most = options.get("max_images", max_count) if isinstance(options, dict) else None
    if not isinstance(most, int) or not 1 <= most <= max_count:
        raise RefusedError(
            f"max_images must be between 1 and {max_count}.", param="sequential_image_generation_options"
        )
    return most
