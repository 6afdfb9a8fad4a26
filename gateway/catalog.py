"""The model catalogue: which models there are, what they are called upstream, what they can do and cost.

The data is ``catalog.toml``, validated completely when it is loaded: a catalogue that loads is a catalogue that can
be served and billed from.
"""

import difflib
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Literal

import msgspec

from gateway.openai_api.errors import model_not_found

Modality = Literal["text", "image", "audio", "video", "pdf"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class CatalogError(Exception):
    """The catalogue contradicts itself; says where."""


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """USD per million tokens. A kind without a rate of its own is charged as ``input`` or ``output``."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    cached_audio_input: Decimal | None = None
    image_output: Decimal | None = None


class LongContext(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates of the whole request once its prompt is longer than ``over_tokens``."""

    over_tokens: int


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model costs, with the source of every figure.

    ``tiers`` are the rates of other service tiers, as the answer names them. ``per_image`` is the flat price in USD
    of one delivered picture, ``per_web_search`` of one search.
    """

    source: str
    rates: Rates | None = None
    long_context: LongContext | None = None
    tiers: dict[str, Rates] = {}
    regions: dict[str, Decimal] = {}
    per_image: Decimal | None = None
    per_web_search: Decimal | None = None


class Traits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What translation has to know of a model; the defaults are those of a plain OpenAI-shaped text model.

    ``sampling``: ``free``; ``single`` (temperature or top_p, not both); ``default`` (only temperature 1 and top_p 1);
    ``without_effort`` (free while reasoning is off); ``refused``. ``thinking``: how thinking is controlled:
    ``effort`` (OpenAI's word list), ``switch`` (ModelArk's thinking.type), ``prompt`` (Nous), ``budget`` (tokens),
    ``adaptive`` and ``always`` (Anthropic), ``level`` (Gemini 3), or ``none``. ``efforts`` are the words the model
    takes, ``default_effort`` the one it uses when told nothing.
    """

    max_completion_tokens: bool = False
    sampling: Literal["free", "single", "default", "without_effort", "refused"] = "free"
    thinking: Literal["none", "effort", "switch", "prompt", "budget", "adaptive", "always", "level"] = "none"
    efforts: tuple[Effort, ...] = ()
    default_effort: Effort | None = None
    thinking_budget: tuple[int, int] | None = None
    thinking_off: bool = True
    verbosity: tuple[Literal["low", "medium", "high"], ...] = ()
    max_choices: int = 128
    stop: bool = True
    penalties: bool = True
    logprobs: bool = True
    logit_bias: bool = True
    tools: bool = True
    parallel_tool_calls: bool = True
    json_object: bool = True
    json_schema: bool = True
    json_with_tools: bool = True
    prefill: bool = True
    system_turns: bool = True
    output_within_context: bool = False
    signatures: bool = False
    tool_result_images: bool = False


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model. Dates are the vendor's; ``replacement`` is what the vendor names instead.

    ``max_output_tokens`` is None where the vendor limits only prompt and output together.
    """

    id: str
    provider: str
    upstream_id: str
    prices: Prices
    context_length: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    inputs: tuple[Modality, ...] = ("text",)
    outputs: tuple[Modality, ...] = ("text",)
    endpoint: Literal["chat", "images"] = "chat"
    aliases: tuple[str, ...] = ()
    released: date | None = None
    retires_on: date | None = None
    replacement: str | None = None
    note: str | None = None
    traits: Traits = Traits()

    def retired(self, today: date) -> bool:
        return self.retires_on is not None and self.retires_on <= today


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One vendor: the base URL in its SDK's convention, and the names under which operators give its key and URL.

    ``stops_billing_on_close``: closing the connection ends the generation and its bill (practice.md 2).
    """

    id: str
    name: str
    base_url: str
    key_variable: str
    base_url_variable: str
    injected_key: str
    stops_billing_on_close: bool = False


class Catalog:
    """All providers and models, looked up by any name they go by."""

    def __init__(self, providers: Mapping[str, Provider], models: Mapping[str, Model]) -> None:
        self.providers = providers
        self.models = models
        self._names: dict[str, Model] = {}
        for model in models.values():
            self._index(model)
        self._check_references()

    def find(self, name: str) -> Model:
        """The model called ``name``; raises 404 model_not_found with near matches."""
        if model := self._names.get(name):
            return model
        near = difflib.get_close_matches(name.rpartition("/")[2], self.models, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise model_not_found(f"The model '{name[:128]}' does not exist.{hint}")

    def get(self, name: str) -> Model | None:
        """The model called ``name``, or None; for the names that upstreams answer with."""
        return self._names.get(name)

    def _index(self, model: Model) -> None:
        if model.provider not in self.providers:
            raise CatalogError(f"models.{model.id}: unknown provider {model.provider!r}")
        names = {model.id, model.upstream_id, *model.aliases}
        for name in names | {f"{model.provider}/{name}" for name in names if "/" not in name}:
            if (other := self._names.setdefault(name, model)) is not model:
                raise CatalogError(f"models.{model.id}: the name {name!r} already belongs to {other.id}")

    def _check_references(self) -> None:
        for model in self.models.values():
            if model.replacement is not None and model.replacement not in self.models:
                raise CatalogError(f"models.{model.id}: unknown replacement {model.replacement!r}")
            if model.prices.rates is None and model.prices.per_image is None:
                raise CatalogError(f"models.{model.id}: no price")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    providers: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]


def load(text: str) -> Catalog:
    """The catalogue in a TOML text; raises CatalogError."""
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CatalogError(str(error)) from None
    return Catalog(
        {name: _entry(Provider, "providers", name, fields) for name, fields in file.providers.items()},
        {name: _entry(Model, "models", name, fields) for name, fields in file.models.items()},
    )


def _entry(form: Any, table: str, name: str, fields: dict[str, Any]) -> Any:
    try:
        return msgspec.convert({"id": name, **fields}, form)
    except msgspec.ValidationError as error:
        raise CatalogError(f"{table}.{name}: {error}") from None


@cache
def bundled() -> Catalog:
    """The catalogue that ships with the gateway, read once."""
    return load(resources.files("gateway").joinpath("catalog.toml").read_text(encoding="utf-8"))
