"""The model catalogue: models with their upstream ids, traits, limits and prices.

The data is ``catalog.toml``. It is fully validated on loading: every model of a loaded catalogue can be served and
billed.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Literal

import msgspec

from gateway.catalog_checks import check
from gateway.openai_api.errors import model_not_found

Modality = Literal["text", "image", "audio", "video", "pdf"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
IMAGE_TOKENS = 1120
"""Prompt tokens of an image for most models (facts/providers.md 10.3)."""
_MAX_NAME_CHARS = 128


class CatalogError(Exception):
    """The catalogue is invalid; every problem begins with the path of the offending entry."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """USD per million tokens. Kinds without a rate of their own are charged as ``input`` or ``output``."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    cached_audio_input: Decimal | None = None
    image_output: Decimal | None = None


class LongContext(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates for all tokens of a request whose prompt is longer than ``over_tokens``."""

    over_tokens: int


class AnnouncedRates(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates that replace ``Prices.rates`` on an announced day."""

    starts_on: date


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model costs, with the source of every figure.

    ``tiers`` are other service tiers, by their names in answers: rates of their own, or a factor on the standard ones.
    ``regions`` are factors on every token price. Flat prices are in USD: ``per_image`` for a delivered image,
    ``per_web_search`` for one search, ``per_grounded_prompt`` for a request that searched at all.
    """

    source: str
    rates: Rates | None = None
    long_context: LongContext | None = None
    announced: AnnouncedRates | None = None
    tiers: dict[str, Rates | Decimal] = {}
    regions: dict[str, Decimal] = {}
    per_image: Decimal | None = None
    per_web_search: Decimal | None = None
    per_grounded_prompt: Decimal | None = None


class Traits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What translation needs to know of a model; the defaults describe a plain OpenAI-shaped text model.

    ``sampling``: ``free``; ``single`` (temperature or top_p, not both); ``default`` (only temperature 1 and top_p 1);
    ``without_effort`` (free while reasoning is off); ``refused``. ``thinking``: how thinking is controlled:
    ``effort`` (OpenAI's word list), ``switch`` (ModelArk's thinking.type), ``prompt`` (Nous), ``budget`` (tokens),
    ``adaptive`` and ``always`` (Anthropic), ``level`` (Gemini 3), or ``none``. Without ``thinking_off`` a model always
    thinks, also where nothing controls it. ``efforts`` are the accepted values, ``default_effort`` the one used
    without a value. ``thinking_budget`` is the smallest and the largest.
    ``thinking_hidden``: reasoning is returned empty unless a summary is requested.
    """

    max_completion_tokens: bool = False
    sampling: Literal["free", "single", "default", "without_effort", "refused"] = "free"
    thinking: Literal["none", "effort", "switch", "prompt", "budget", "adaptive", "always", "level"] = "none"
    efforts: tuple[Effort, ...] = ()
    default_effort: Effort | None = None
    thinking_budget: tuple[int, int] | None = None
    thinking_off: bool = True
    thinking_hidden: bool = False
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
    """One model. Dates are the vendor's.

    ``replacement`` is what to use instead: the vendor's choice, or the nearest current model where it names none.
    ``rerouted``: the vendor answers, or may answer, with the replacement under this model's name.
    ``max_output_tokens`` is None where the vendor limits only prompt and output together. ``image_tokens`` is the
    estimate for an input image; a quote covers twice as many, which must suffice for the largest.
    """

    id: str
    provider: str
    upstream_id: str
    prices: Prices
    context_length: int | None = None
    max_output_tokens: int | None = None
    image_tokens: int = IMAGE_TOKENS
    inputs: tuple[Modality, ...] = ("text",)
    outputs: tuple[Modality, ...] = ("text",)
    endpoint: Literal["chat", "images"] = "chat"
    aliases: tuple[str, ...] = ()
    released: date | None = None
    retires_on: date | None = None
    replacement: str | None = None
    rerouted: bool = False
    traits: Traits = Traits()

    def retired(self, today: date) -> bool:
        return self.retires_on is not None and self.retires_on <= today


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One vendor: the base URL in its SDK's convention, and the names of the settings for its key and URL.

    ``prefixes``, beside ``id``, may precede a model's name: ``x-ai/grok-4``. ``stops_billing_on_close``: closing the
    connection ends generation and billing (practice.md 2). Quotes cover the prompt tokens that the vendor adds:
    ``call_tokens`` to every call, ``tool_tokens`` besides to one with tools, or with a schema for the answer, which a
    tool may have to emulate, and ``search_tokens`` for a web search, unless its price includes them.
    """

    id: str
    name: str
    base_url: str
    key_variable: str
    base_url_variable: str
    injected_key: str
    prefixes: tuple[str, ...] = ()
    stops_billing_on_close: bool = False
    call_tokens: int = 8
    tool_tokens: int = 0
    search_tokens: int = 0


class Catalog:
    """All providers and models; models are looked up by any of their names, case-insensitively."""

    def __init__(self, providers: Mapping[str, Provider], models: Mapping[str, Model]) -> None:
        self.providers = providers
        self.models = models
        self._names: dict[str, Model] = {}
        problems = [*check(providers, models)]
        for model in models.values():
            problems += self._index(model)
        if problems:
            raise CatalogError(*problems)

    def find(self, name: str) -> Model:
        """The model called ``name``, retired or not; raises 404 model_not_found with close matches."""
        if model := self.get(name):
            return model
        hint = f" Did you mean {', '.join(near)}?" if (near := self._near(name)) else ""
        raise model_not_found(f"The model '{name[:_MAX_NAME_CHARS]}' does not exist.{hint}")

    def get(self, name: str) -> Model | None:
        """The model called ``name``, or None; for names in upstream answers."""
        return self._names.get(name.strip().lower())

    def may_answer(self, model: Model) -> tuple[Model, ...]:
        """``model``, and its replacement if the vendor may answer with that: the models that a quote must cover."""
        if model.rerouted and model.replacement is not None:
            return model, self.models[model.replacement]
        return (model,)

    def _near(self, name: str) -> list[str]:
        """Ids of models whose name, without its prefix, is similar to ``name``."""
        word = name[-_MAX_NAME_CHARS:].strip().lower().rpartition("/")[2]
        names = [name for name in self._names if "/" not in name]
        near = difflib.get_close_matches(word, names, n=len(names)) if names else []
        return list(dict.fromkeys(self._names[name].id for name in near))[:3]

    def _index(self, model: Model) -> Iterator[str]:
        provider = self.providers.get(model.provider)
        prefixes = (provider.id, *provider.prefixes) if provider else ()
        bare = [name.lower() for name in (model.id, model.upstream_id, *model.aliases)]
        prefixed = [f"{prefix}/{name}" for name in bare if "/" not in name for prefix in prefixes]
        for name in dict.fromkeys(bare + prefixed):
            if (other := self._names.setdefault(name, model)) is not model:
                yield f"models.{model.id}: the name {name!r} already belongs to {other.id}"
                return


class _File(msgspec.Struct, forbid_unknown_fields=True):
    providers: dict[str, dict[str, Any]]
    models: dict[str, dict[str, Any]]


def load(text: str) -> Catalog:
    """Parse and validate a TOML text; raises CatalogError.

    The ``traits`` table of a provider holds defaults for its models.
    """
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
    except (ValueError, msgspec.ValidationError) as error:
        raise CatalogError(str(error)) from None
    defaults = {name: _traits("providers", name, fields) for name, fields in file.providers.items()}
    for name, fields in file.models.items():
        own = _traits("models", name, fields)
        fields["traits"] = defaults.get(str(fields.get("provider")), {}) | own
    return Catalog(
        {name: _entry(Provider, "providers", name, fields) for name, fields in file.providers.items()},
        {name: _entry(Model, "models", name, fields) for name, fields in file.models.items()},
    )


def _traits(table: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Remove the ``traits`` table from ``fields`` and return it."""
    traits: dict[str, Any] = _converted(f"{table}.{name}.traits", fields.pop("traits", {}), dict[str, Any])
    return traits


def _entry(type_: Any, table: str, name: str, fields: dict[str, Any]) -> Any:
    return _converted(f"{table}.{name}", fields | {"id": name}, type_)


def _converted(path: str, value: Any, type_: Any) -> Any:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise CatalogError(f"{path}: {error}") from None


@cache
def bundled() -> Catalog:
    """The catalogue in the package, loaded once."""
    return load(resources.files("gateway").joinpath("catalog.toml").read_bytes().decode())
