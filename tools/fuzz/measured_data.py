"""The catalogue and the definitions, which are measured with an image: consistent and billable, or refused."""

import json
import tomllib
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from random import Random
from typing import Any

from gateway import catalog
from gateway.billing import definitions
from gateway.billing.pricing import cost, worst_case
from gateway.openai_api.usage import Usage
from tools.fuzz.mutations import json_value, mutate_tree
from tools.fuzz.target import BrokenPropertyError, Target

_DAY = date(2026, 11, 22)
_USAGE = Usage(
    prompt_tokens=300_000,
    completion_tokens=9,
    cached_tokens=7,
    cache_write_tokens=5,
    audio_tokens=3,
    image_tokens=2,
    images=1,
    web_searches=1,
)
_FIGURES = ("NaN", "Infinity", "-1", "0", "1e400", "1e-400", "0.1", 0.1, 10**40, float("nan"), "9" * 100, _DAY)


@cache
def _file(package: str, name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(package).joinpath(name).read_bytes().decode())


def _make_catalogue(random: Random) -> str:
    """The bundled catalogue with few of its models and up to two mutations."""
    file = _file("gateway", "catalog.toml")
    chosen = random.sample(sorted(file["models"]), 2)
    chosen += [name for model in chosen if (name := file["models"][model].get("replacement"))]
    models = {name: file["models"][name] for name in chosen}
    return _toml(mutate_tree(random, {**file, "models": models}, random.randrange(3), _figure))


def _make_definitions(random: Random) -> str:
    return _toml(mutate_tree(random, _file("gateway.billing", "definitions.toml"), random.randrange(3), _figure))


def _figure(random: Random) -> Any:
    return random.choice(_FIGURES) if random.random() < 0.5 else json_value(random, 2)


def _toml(tree: Any) -> str:
    """``tree`` as a TOML file; null, which TOML does not have, becomes a string."""
    lines = tree.items() if isinstance(tree, dict) else [("models", tree)]
    return "".join(f"{json.dumps(key)} = {_inline(value)}\n" for key, value in lines)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value)
    return '"null"' if value is None else str(value)


def _check_catalogue(text: str) -> None:
    try:
        loaded = catalog.load(text)
    except catalog.CatalogError as error:
        if not str(error) or not error.problems:
            raise BrokenPropertyError("refused without a word") from error
        return
    for model in loaded.models.values():
        if loaded.find(model.id) is not model or loaded.find(f"{model.provider}/{model.id}".upper()) is not model:
            raise BrokenPropertyError(f"{model.id!r} is not found by its name")
        for served in loaded.may_answer(model):
            if min(cost(served, _USAGE, _DAY), worst_case(served, 1000, None, 1, 1)) <= 0:
                raise BrokenPropertyError(f"{served.id!r} costs nothing")


def _check_definitions(text: str) -> None:
    try:
        loaded = definitions.load(text)
    except definitions.DefinitionsError as error:
        if not str(error):
            raise BrokenPropertyError("refused without a word") from error
        return
    for token in loaded.tokens.values():
        if loaded.network(token).chain_id < 0 or (token.usd is None) == (token.feed is None):
            raise BrokenPropertyError(f"{token.id} cannot be priced")
    figures = (loaded.exposure.newcomer_usd, loaded.exposure.growth, loaded.exposure.ceiling_usd)
    if not all(Decimal(0) < figure < Decimal("Infinity") for figure in figures):
        raise BrokenPropertyError(f"limits {figures}")


CATALOGUES = Target("catalogues", _make_catalogue, _check_catalogue)
DEFINITIONS = Target("definitions", _make_definitions, _check_definitions)
