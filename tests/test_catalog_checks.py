"""A catalogue that contradicts itself does not load: each fault gets its own error, and no other."""

# ruff: noqa: E501 - a case is a row

import pytest

from gateway.catalog import Catalog, CatalogError, load
from gateway.openai_api.errors import GatewayError

SOUND = """
[providers.acme]
name = "Acme"
base_url = "https://api.acme.example/v1"
key_variable = "ACME_API_KEY"
base_url_variable = "ACME_BASE_URL"
injected_key = "acme_api_key"
prefixes = ["ac-me"]

[providers.acme.traits]
logit_bias = false

[providers.other]
name = "Other"
base_url = "https://other.example"
key_variable = "OTHER_API_KEY"
base_url_variable = "OTHER_BASE_URL"
injected_key = "other_api_key"

[models.text]
provider = "acme"
upstream_id = "text-2025-01-01"
aliases = ["words"]
released = 2025-01-01
retires_on = 2026-01-01
replacement = "thinker"
context_length = 1000
max_output_tokens = 100
inputs = ["text", "image"]
prices.source = "a list"
prices.rates = { input = "2", output = "8", cached_input = "1", cache_write_5m = "3", cache_write_1h = "4" }
prices.tiers.flex = "0.5"
prices.tiers.priority = { input = "4", output = "16", cached_input = "2", cache_write_5m = "6", cache_write_1h = "8" }
prices.regions.us = "1.1"
prices.per_web_search = "0.01"
traits.verbosity = ["low", "high"]
traits.tool_result_images = true
traits.output_within_context = true

[models.thinker]
provider = "acme"
upstream_id = "thinker-1"
retires_on = 2027-01-01
replacement = "budgeter"
rerouted = true
context_length = 1000
prices.source = "a list"
prices.rates = { input = "1", output = "2", audio_input = "3", cached_audio_input = "0.5" }
prices.long_context = { over_tokens = 500, input = "2", output = "4", audio_input = "6", cached_audio_input = "4" }
traits.sampling = "without_effort"
traits.thinking = "effort"
traits.efforts = ["none", "low", "high"]
traits.default_effort = "low"
traits.signatures = true

[models.budgeter]
provider = "acme"
upstream_id = "budgeter"
context_length = 1000
max_output_tokens = 100
outputs = ["text", "image"]
prices.source = "a list"
prices.rates = { input = "1", output = "2", image_output = "30" }
prices.announced = { starts_on = 2027-01-01, input = "2", output = "4", image_output = "60" }
traits.thinking = "budget"
traits.thinking_budget = [10, 99]
traits.default_effort = "none"

[models.level]
provider = "other"
upstream_id = "level-9"
context_length = 1000
prices.source = "a list"
prices.rates = { input = "1", output = "2" }
traits.thinking = "level"
traits.efforts = ["low"]
traits.thinking_off = false

[models.picture]
provider = "other"
upstream_id = "picture"
endpoint = "images"
outputs = ["image"]
prices.source = "a list"
prices.per_image = "0.05"

[models.picture.traits]
stop = false
logprobs = false
tools = false
parallel_tool_calls = false
json_object = false
json_schema = false
json_with_tools = false
"""


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(CatalogError) as caught:
        load(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def broken(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, f"{old!r} occurs {SOUND.count(old)} times"
    return SOUND.replace(old, new)


def test_the_sound_catalogue_loads() -> None:
    catalog = load(SOUND)
    assert isinstance(catalog, Catalog)
    assert catalog.find("ac-me/words").id == "text"
    assert catalog.models["text"].traits.logit_bias is False
    assert catalog.models["level"].traits.logit_bias is True


def test_a_model_may_override_its_providers_traits() -> None:
    text = broken("traits.verbosity", "traits.logit_bias = true\ntraits.verbosity")
    assert load(text).models["text"].traits.logit_bias is True


CASES = [
    # Providers.
    ('"https://api.acme.example/v1"', '"http://api.acme.example/v1"', "providers.acme.base_url: 'http://api.acme.example/v1' is not an https URL without a final slash"),
    ('"https://other.example"', '"https://other.example/"', "providers.other.base_url: 'https://other.example/' is not an https URL without a final slash"),
    ('"OTHER_API_KEY"', '"ACME_API_KEY"', "providers.other.key_variable: 'ACME_API_KEY' already belongs to acme"),
    ('"OTHER_BASE_URL"', '"ACME_BASE_URL"', "providers.other.base_url_variable: 'ACME_BASE_URL' already belongs to acme"),
    ('"other_api_key"', '"acme_api_key"', "providers.other.injected_key: 'acme_api_key' already belongs to acme"),
    ('prefixes = ["ac-me"]', 'prefixes = ["other"]', "providers.other.prefixes: 'other' already belongs to acme"),
    ('injected_key = "other_api_key"', 'injected_key = "other_api_key"\ncall_tokens = -1', "providers.other.call_tokens: -1 is negative"),
    ('injected_key = "other_api_key"', 'injected_key = "other_api_key"\nsearch_tokens = -1', "providers.other.search_tokens: -1 is negative"),
    ('injected_key = "other_api_key"', 'injected_key = "other_api_key"\ntool_tokens = -1', "providers.other.tool_tokens: -1 is negative"),
    # Names.
    ('aliases = ["words"]', 'aliases = ["thinker-1"]', "models.thinker: the name 'thinker-1' already belongs to text"),
    ('aliases = ["words"]', 'aliases = ["THINKER-1"]', "models.thinker: the name 'thinker-1' already belongs to text"),
    ('aliases = ["words"]', 'aliases = ["other/level-9"]', "models.level: the name 'other/level-9' already belongs to text"),
    ('aliases = ["words"]', 'aliases = ["words", "words"]', "models.text.aliases: 'words' is repeated"),
    ('aliases = ["words"]', 'aliases = ["text"]', "models.text.aliases: 'text' is repeated"),
    ('aliases = ["words"]', 'aliases = [" words"]', "models.text.aliases: ' words' is empty or has surrounding whitespace"),
    ('upstream_id = "picture"', 'upstream_id = ""', "models.picture.aliases: '' is empty or has surrounding whitespace"),
    # Limits and modalities.
    ("context_length = 1000\nmax_output_tokens = 100\ninputs", "max_output_tokens = 100\ninputs", "models.text.context_length: missing"),
    ("max_output_tokens = 100\ninputs", "max_output_tokens = 1001\ninputs", "models.text.max_output_tokens: 1001 is more than context_length"),
    ("max_output_tokens = 100\ninputs", "max_output_tokens = -1\ninputs", "models.text.max_output_tokens: -1 is not positive"),
    ("max_output_tokens = 100\ninputs", "max_output_tokens = 100\nimage_tokens = 0\ninputs", "models.text.image_tokens: 0 is not positive"),
    ('inputs = ["text", "image"]', 'inputs = ["image"]', "models.text.inputs: must include text"),
    ('inputs = ["text", "image"]', 'inputs = ["text", "image", "text"]', "models.text.inputs: 'text' is repeated"),
    ('outputs = ["text", "image"]', 'outputs = ["image"]', "models.budgeter.outputs: must include text"),
    ('outputs = ["text", "image"]', 'outputs = ["text", "image", "image"]', "models.budgeter.outputs: 'image' is repeated"),
    ('outputs = ["image"]', 'outputs = ["text", "image"]', "models.picture.outputs: must be only image for an images endpoint"),
    # Ends of life.
    ("retires_on = 2026-01-01", "retires_on = 2025-01-01", "models.text.retires_on: must be after released"),
    ('replacement = "thinker"', "", "models.text.replacement: required with retires_on"),
    ('replacement = "thinker"', 'replacement = "nobody"', "models.text.replacement: unknown model 'nobody'"),
    ('replacement = "thinker"', 'replacement = "text"', "models.text.replacement: text is retired no later than the model"),
    ('replacement = "thinker"', 'replacement = "picture"', "models.text.replacement: picture has a different endpoint"),
    ("retires_on = 2027-01-01", "retires_on = 2026-01-01", "models.text.replacement: thinker is retired no later than the model"),
    ("retires_on = 2027-01-01\n", "", "models.thinker.replacement: requires retires_on"),
    ('outputs = ["text", "image"]', 'outputs = ["text", "image"]\nrerouted = true', "models.budgeter.rerouted: requires a replacement"),
    # Prices.
    ('prices.source = "a list"\nprices.per_image', 'prices.source = " "\nprices.per_image', "models.picture.prices.source: missing"),
    ('per_image = "0.05"', 'per_image = "0"', "models.picture.prices.per_image: 0 is not a price"),
    ('per_image = "0.05"', 'per_image = "NaN"', "models.picture.prices.per_image: NaN is not a price"),
    ('per_image = "0.05"', 'per_web_search = "1"', "models.picture.prices.per_image: required for an images endpoint"),
    ('per_image = "0.05"', 'per_image = "0.05"\nprices.rates = { input = "1", output = "2" }', "models.picture.prices.rates: not allowed for an images endpoint"),
    ('per_image = "0.05"', 'per_image = "0.05"\nprices.regions.us = "1.1"', "models.picture.prices.regions: without rates"),
    ('per_image = "0.05"', 'per_image = "0.05"\nprices.tiers.flex = "0.5"', "models.picture.prices.tiers: without rates"),
    ('per_image = "0.05"', 'per_image = "1000000.01"', "models.picture.prices.per_image: 1000000.01 is not a price"),
    ('per_image = "0.05"', 'per_image = "0.0000000000015"', "models.picture.prices.per_image: 1.5E-12 is not a price"),
    ('per_web_search = "0.01"', 'per_web_search = "-1"', "models.text.prices.per_web_search: -1 is not a price"),
    ('per_web_search = "0.01"', 'per_grounded_prompt = "Infinity"', "models.text.prices.per_grounded_prompt: Infinity is not a price"),
    ('per_web_search = "0.01"', 'per_image = "1"', "models.text.prices.per_image: only allowed for an images endpoint"),
    ('per_web_search = "0.01"', 'per_web_search = "0.01"\nprices.per_grounded_prompt = "0.02"', "models.text.prices.per_grounded_prompt: cannot be combined with per_web_search"),
    ('prices.rates = { input = "1", output = "2" }\ntraits.thinking = "level"', 'traits.thinking = "level"', "models.level.prices.rates: missing"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "0", output = "2" }', "models.level.prices.rates.input: 0 is not a price"),
    ('rates = { input = "1", output = "2", audio_input', 'rates = { input = "NaN", output = "2", audio_input', "models.thinker.prices.rates.input: NaN is not a price"),
    ('over_tokens = 500, input = "2"', 'over_tokens = 500, input = "NaN"', "models.thinker.prices.long_context.input: NaN is not a price"),
    ('over_tokens = 500, input = "2"', 'over_tokens = 500, input = "0"', "models.thinker.prices.long_context.input: 0 is not a price"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "1", output = "-2" }', "models.level.prices.rates.output: -2 is not a price"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "1", output = "sNaN" }', "models.level.prices.rates.output: sNaN is not a price"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "1", output = "2", cached_input = "1.1" }', "models.level.prices.rates.cached_input: 1.1 is more than input"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "1", output = "2", cached_audio_input = "0.1" }', "models.level.prices.rates.cached_audio_input: requires audio_input"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "1", output = "2", cache_write_5m = "1" }', "models.level.prices.rates.cache_write_5m: requires cache_write_1h and vice versa"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "1", output = "2", cache_write_5m = "0.9", cache_write_1h = "1" }', "models.level.prices.rates.input: 1 is more than cache_write_5m"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "1", output = "2", cache_write_5m = "3", cache_write_1h = "2" }', "models.level.prices.rates.cache_write_5m: 3 is more than cache_write_1h"),
    ('rates = { input = "1", output = "2" }', 'rates = { input = "1", output = "2", image_output = "3" }', "models.level.prices.rates.image_output: required if and only if outputs include image"),
    ('audio_input = "3", cached_audio_input = "0.5"', 'audio_input = "3", cached_audio_input = "3.5"', "models.thinker.prices.rates.cached_audio_input: 3.5 is more than audio_input"),
    ('rates = { input = "1", output = "2", image_output = "30" }', 'rates = { input = "1", output = "40", image_output = "30" }', "models.budgeter.prices.rates.output: 40 is more than image_output"),
    ("over_tokens = 500", "over_tokens = 1000", "models.thinker.prices.long_context.over_tokens: 1000 is not within the context"),
    ("over_tokens = 500", "over_tokens = 0", "models.thinker.prices.long_context.over_tokens: 0 is not within the context"),
    ('over_tokens = 500, input = "2"', 'over_tokens = 500, input = "0.5"', "models.thinker.prices.long_context.input: 0.5 is less than the standard rate"),
    ('output = "4", audio_input = "6"', 'output = "1", audio_input = "6"', "models.thinker.prices.long_context.output: 1 is less than the standard rate"),
    ('audio_input = "6", cached_audio_input = "4" }', 'audio_input = "6" }', "models.thinker.prices.long_context.cached_audio_input: must be priced both here and in the standard rates"),
    ('image_output = "60" }', 'image_output = "60", cached_input = "1" }', "models.budgeter.prices.announced.cached_input: must be priced both here and in the standard rates"),
    ('image_output = "60" }', 'image_output = "-60" }', "models.budgeter.prices.announced.image_output: -60 is not a price"),
    ('audio_input = "6", cached', 'audio_input = "6", image_output = "9", cached', "models.thinker.prices.long_context.image_output: must be priced both here and in the standard rates"),
    ("prices.announced =", 'prices.long_context = { over_tokens = 5, input = "1", output = "2", image_output = "30" }\nprices.announced =', "models.budgeter.prices.announced: not supported with long context or tier rates"),
    ("prices.announced =", 'prices.tiers.flex = { input = "1", output = "2", image_output = "30" }\nprices.announced =', "models.budgeter.prices.announced: not supported with long context or tier rates"),
    ("prices.long_context =", 'prices.tiers.flex = { input = "1", output = "2", audio_input = "3", cached_audio_input = "1" }\nprices.long_context =', "models.thinker.prices.tiers.flex: must be a factor with long context rates"),
    ('prices.tiers.flex = "0.5"', 'prices.tiers.flexible = "0.5"', "models.text.prices.tiers.flexible: unknown tier"),
    ('prices.tiers.flex = "0.5"', 'prices.tiers.flex = "1"', "models.text.prices.tiers.flex: 1 is not a factor below 1"),
    ('prices.tiers.flex = "0.5"', 'prices.tiers.flex = "0"', "models.text.prices.tiers.flex: 0 is not a factor below 1"),
    ('prices.tiers.flex = "0.5"', 'prices.tiers.fast = "0.5"', "models.text.prices.tiers.fast: 0.5 is not a factor from 1"),
    ('input = "4", output = "16"', 'input = "-4", output = "16"', "models.text.prices.tiers.priority.input: -4 is not a price"),
    ('prices.regions.us = "1.1"', 'prices.regions.eu = "1.1"', "models.text.prices.regions.eu: unknown region"),
    ('prices.regions.us = "1.1"', 'prices.regions.us = "0.9"', "models.text.prices.regions.us: 0.9 is not a factor from 1"),
    ('prices.regions.us = "1.1"', 'prices.regions.us = "NaN"', "models.text.prices.regions.us: NaN is not a factor from 1"),
    # Thinking.
    ('efforts = ["none", "low", "high"]', 'efforts = ["none", "high", "low"]', "models.thinker.traits.efforts: not in the order none, minimal, low, medium, high, xhigh, max"),
    ('efforts = ["none", "low", "high"]', 'efforts = ["none", "low", "low", "high"]', "models.thinker.traits.efforts: not in the order none, minimal, low, medium, high, xhigh, max"),
    ('default_effort = "low"', 'default_effort = "medium"', "models.thinker.traits.default_effort: medium is not one of the efforts"),
    ('default_effort = "low"', 'thinking_off = false', "models.thinker.traits.thinking_off: required if and only if efforts include none"),
    ('traits.efforts = ["low"]\n', "", "models.level.traits.efforts: required with thinking 'level'"),
    ('traits.efforts = ["low"]\ntraits.thinking_off = false', 'traits.efforts = ["low"]', "models.level.traits.thinking_off: thinking 'level' cannot be switched off"),
    ('traits.efforts = ["low"]', 'traits.efforts = ["low"]\ntraits.default_effort = "none"', "models.level.traits.default_effort: none is not one of the efforts"),
    ('traits.verbosity', 'traits.efforts = ["low"]\ntraits.verbosity', "models.text.traits.efforts: requires thinking"),
    ('traits.verbosity', 'traits.default_effort = "none"\ntraits.verbosity', "models.text.traits.default_effort: requires thinking"),
    ('traits.verbosity', 'traits.signatures = true\ntraits.verbosity', "models.text.traits.signatures: requires thinking"),
    ('traits.verbosity', 'traits.thinking_hidden = true\ntraits.verbosity', "models.text.traits.thinking_hidden: requires thinking"),
    ('traits.verbosity', 'traits.thinking_budget = [1, 2]\ntraits.verbosity', "models.text.traits.thinking_budget: required if and only if thinking is 'budget'"),
    ("traits.thinking_budget = [10, 99]\n", "", "models.budgeter.traits.thinking_budget: required if and only if thinking is 'budget'"),
    ("[10, 99]", "[10, 100]", "models.budgeter.traits.thinking_budget: 100 must be below max_output_tokens"),
    ("[10, 99]", "[50, 50]", "models.budgeter.traits.thinking_budget: 50 to 50 is not a range"),
    ("[10, 99]", "[0, 99]", "models.budgeter.traits.thinking_budget: 0 to 99 is not a range"),
    # Parameters.
    ('verbosity = ["low", "high"]', 'verbosity = ["high", "low"]', "models.text.traits.verbosity: not in the order low, medium, high"),
    ('traits.verbosity', 'traits.max_choices = 0\ntraits.verbosity', "models.text.traits.max_choices: 0 is not between 1 and 128"),
    ('traits.verbosity', 'traits.max_choices = 129\ntraits.verbosity', "models.text.traits.max_choices: 129 is not between 1 and 128"),
    ('traits.verbosity', 'traits.sampling = "without_effort"\ntraits.verbosity', "models.text.traits.sampling: 'without_effort' requires the effort none"),
    ('traits.verbosity', 'traits.tools = false\ntraits.json_with_tools = false\ntraits.verbosity', "models.text.traits.parallel_tool_calls: requires tools"),
    ('traits.verbosity', 'traits.tools = false\ntraits.parallel_tool_calls = false\ntraits.verbosity', "models.text.traits.json_with_tools: requires tools and JSON output"),
    ('traits.verbosity', 'traits.json_schema = false\ntraits.json_object = false\ntraits.verbosity', "models.text.traits.json_with_tools: requires tools and JSON output"),
    ('inputs = ["text", "image"]', 'inputs = ["text", "audio"]', "models.text.traits.tool_result_images: requires image input"),
    ("max_output_tokens = 100\ninputs", "inputs", "models.text.traits.output_within_context: requires max_output_tokens"),
    ("[models.picture.traits]\nstop = false", "[models.picture.traits]", "models.picture.traits.stop: not allowed for an images endpoint"),
    ("\nlogprobs = false", "", "models.picture.traits.logprobs: not allowed for an images endpoint"),
    ("\njson_schema = false", "", "models.picture.traits.json_schema: not allowed for an images endpoint"),
    ("\njson_object = false", "", "models.picture.traits.json_object: not allowed for an images endpoint"),
    ("\ntools = false", "", "models.picture.traits.tools: not allowed for an images endpoint"),
    ("\ntools = false", '\ntools = false\nmax_completion_tokens = true', "models.picture.traits.max_completion_tokens: not allowed for an images endpoint"),
    ("\ntools = false", '\ntools = false\nthinking = "switch"\nefforts = ["low"]', "models.picture.traits.thinking: not allowed for an images endpoint"),
    ('provider = "acme"\nupstream_id = "budgeter"', 'upstream_id = "budgeter"', "models.budgeter: Object missing required field `provider`"),
    ("[10, 99]", '["ten", 99]', "models.budgeter: Expected `int`, got `str` - at `$.traits.thinking_budget[0]`"),
    ('per_image = "0.05"', 'per_picture = "0.05"', "models.picture: Object contains unknown field `per_picture` - at `$.prices`"),
    ('name = "Other"', "", "providers.other: Object missing required field `name`"),
    ('efforts = ["low"]', 'efforts = ["lower"]', "models.level: Invalid enum value 'lower' - at `$.traits.efforts[0]`"),
    ("logit_bias = false", "logit_bias = 0", "models.text: Expected `bool`, got `int` - at `$.traits.logit_bias`"),
    ("[providers.acme.traits]\nlogit_bias = false", "traits = 0", "providers.acme.traits: Expected `object`, got `int`"),
    ('traits.verbosity = ["low", "high"]\ntraits.tool_result_images = true\ntraits.output_within_context = true', "traits = 0", "models.text.traits: Expected `object`, got `int`"),
    ('provider = "acme"\nupstream_id = "budgeter"', 'provider = ["acme"]\nupstream_id = "budgeter"', "models.budgeter: Expected `str`, got `array` - at `$.provider`"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "problem"), CASES, ids=[case[2] for case in CASES])
def test_a_broken_catalogue_says_what_is_wrong(old: str, new: str, problem: str) -> None:
    assert problems(broken(old, new)) == (problem,)


@pytest.mark.parametrize("thinking", ["effort", "switch", "prompt", "adaptive", "always", "level"])
def test_thinking_by_words_needs_words(thinking: str) -> None:
    text = broken('traits.thinking = "level"\ntraits.efforts = ["low"]', f'traits.thinking = "{thinking}"')
    assert problems(text) == (f"models.level.traits.efforts: required with thinking {thinking!r}",)


@pytest.mark.parametrize("thinking", ["always", "level"])
def test_thinking_that_cannot_be_switched_off(thinking: str) -> None:
    text = broken(
        '"level"\ntraits.efforts = ["low"]\ntraits.thinking_off = false', f'"{thinking}"\ntraits.efforts = ["low"]'
    )
    problem = f"models.level.traits.thinking_off: thinking {thinking!r} cannot be switched off"
    assert problems(text) == (problem,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_output_tokens = 100\ninputs", "max_output_tokens = 1\ninputs"),
        ("max_output_tokens = 100\ninputs", "max_output_tokens = 1000\ninputs"),
        ("over_tokens = 500", "over_tokens = 1"),
        ("over_tokens = 500", "over_tokens = 999"),
        ('regions.us = "1.1"', 'regions.us = "1"'),
        ('per_image = "0.05"', 'per_image = "1000000"'),
        ('per_image = "0.05"', 'per_image = "0.000000000001"'),
        ('over_tokens = 500, input = "2"', 'over_tokens = 500, input = "1"'),
    ],
)
def test_figures_that_just_hold(old: str, new: str) -> None:
    assert isinstance(load(broken(old, new)), Catalog)


def test_an_unknown_provider() -> None:
    found = problems(
        broken('provider = "acme"\nupstream_id = "budgeter"', 'provider = "nobody"\nupstream_id = "budgeter"')
    )
    assert found == ("models.budgeter.provider: unknown provider 'nobody'",)


def test_all_complaints_come_at_once() -> None:
    text = broken("[10, 99]", "[0, 99]").replace('per_image = "0.05"', 'per_image = "0"')
    assert len(problems(text)) == 2


def test_a_catalogue_without_models_knows_none() -> None:
    with pytest.raises(GatewayError, match=r"The model 'gpt-5' does not exist\.$"):
        load("[providers]\n[models]").find("gpt-5")


def test_text_that_is_not_toml() -> None:
    (problem,) = problems("[models")
    assert problem.startswith("Expected ']' at the end of a table declaration")


def test_a_file_without_models() -> None:
    assert problems("[providers]") == ("Object missing required field `models`",)
