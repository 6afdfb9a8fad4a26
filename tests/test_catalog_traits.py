"""Traits of the bundled models against the model rules of facts/providers.md."""

from msgspec.structs import asdict

from gateway.catalog import Catalog, Traits


def test_a_model_of_which_nothing_is_said_can_everything_plain() -> None:
    said = {name: value for name, value in asdict(Traits()).items() if value is not False}
    allowed = """
        thinking_off stop penalties logprobs logit_bias tools parallel_tool_calls json_object json_schema
        json_with_tools prefill system_turns
    """
    assert said == {
        **dict.fromkeys(allowed.split(), True),
        "sampling": "free",
        "thinking": "none",
        "efforts": (),
        "default_effort": None,
        "thinking_budget": None,
        "verbosity": (),
        "max_choices": 128,
    }


def having(catalog: Catalog, provider: str, **traits: object) -> set[str]:
    return {
        name
        for name, model in catalog.models.items()
        if model.provider == provider
        and model.endpoint == "chat"
        and all(getattr(model.traits, trait) == value for trait, value in traits.items())
    }


def efforts(catalog: Catalog, provider: str) -> dict[str, str]:
    return {name: " ".join(catalog.models[name].traits.efforts) for name in having(catalog, provider)}


def test_openai_rules(catalog: Catalog) -> None:
    reasoning = {"gpt-5", "gpt-5-mini", "gpt-5.2", "o4-mini"}
    assert efforts(catalog, "openai") == {
        "gpt-4.1": "",
        "o4-mini": "low medium high",
        "gpt-5": "minimal low medium high",
        "gpt-5-mini": "minimal low medium high",
        "gpt-5.2": "none low medium high xhigh",
    }
    assert having(catalog, "openai", thinking="effort", max_completion_tokens=True) == reasoning
    assert having(catalog, "openai", stop=False, penalties=False, logit_bias=False) == reasoning
    assert having(catalog, "openai", stop=True, penalties=True, logit_bias=True, sampling="free") == {"gpt-4.1"}
    assert having(catalog, "openai", sampling="default", logprobs=False) == reasoning - {"gpt-5.2"}
    assert having(catalog, "openai", sampling="without_effort", default_effort="none") == {"gpt-5.2"}
    assert having(catalog, "openai", default_effort="medium") == reasoning - {"gpt-5.2"}
    assert having(catalog, "openai", parallel_tool_calls=False) == {"o4-mini"}
    assert having(catalog, "openai", verbosity=("medium",)) == {"gpt-4.1"}
    assert having(catalog, "openai", verbosity=("low", "medium", "high")) == reasoning - {"o4-mini"}


def test_anthropic_rules(catalog: Catalog) -> None:
    unsampled = {"claude-opus-4-7", "claude-opus-4-8", "claude-fable-5"}
    flexible = {"claude-3-7-sonnet", "claude-3-5-haiku"}
    plain_json = flexible | {"claude-sonnet-4-0"}
    assert having(catalog, "anthropic", sampling="refused") == unsampled
    assert having(catalog, "anthropic", thinking_hidden=True) == unsampled
    assert having(catalog, "anthropic", sampling="free") == flexible
    assert having(catalog, "anthropic", thinking="adaptive") == {
        "claude-opus-4-6",
        "claude-sonnet-4-6",
        "claude-opus-4-7",
        "claude-opus-4-8",
    }
    assert having(catalog, "anthropic", thinking="always", thinking_off=False) == {"claude-fable-5"}
    assert having(catalog, "anthropic", thinking="none", signatures=False) == {"claude-3-5-haiku"}
    assert having(catalog, "anthropic", prefill=False) == unsampled | {"claude-opus-4-6", "claude-sonnet-4-6"}
    assert having(catalog, "anthropic", json_schema=False) == plain_json
    assert having(catalog, "anthropic", output_within_context=True) == plain_json
    assert having(catalog, "anthropic", system_turns=True) == {"claude-opus-4-8", "claude-fable-5"}
    assert having(catalog, "anthropic", max_choices=1, logprobs=False, penalties=False, logit_bias=False) == having(
        catalog, "anthropic"
    )
    assert {name: words for name, words in efforts(catalog, "anthropic").items() if words} == {
        "claude-opus-4-5": "low medium high",
        "claude-opus-4-6": "low medium high max",
        "claude-sonnet-4-6": "low medium high max",
        "claude-opus-4-7": "low medium high xhigh max",
        "claude-opus-4-8": "low medium high xhigh max",
        "claude-fable-5": "low medium high xhigh max",
    }


def test_gemini_rules(catalog: Catalog) -> None:
    budgets = {name: catalog.models[name].traits.thinking_budget for name in having(catalog, "google")}
    assert {name: budget for name, budget in budgets.items() if budget} == {
        "gemini-2.5-flash": (1, 24_576),
        "gemini-2.5-flash-lite": (512, 24_576),
        "gemini-2.5-pro": (128, 32_768),
    }
    assert {name: words for name, words in efforts(catalog, "google").items() if words} == {
        "gemini-3-pro-preview": "low high",
        "gemini-3.1-pro-preview": "low medium high",
        "gemini-3-flash-preview": "minimal low medium high",
        "gemini-3.1-flash-lite": "minimal low medium high",
        "gemini-3.1-flash-lite-preview": "minimal low medium high",
        "gemini-3.5-flash": "minimal low medium high",
        "gemini-3.5-flash-lite": "minimal low medium high",
        "gemini-3.8-flash": "low medium high",
        "gemini-3.1-flash-image": "minimal high",
    }
    pictures = {"gemini-2.5-flash-image", "gemini-3.1-flash-image"}
    before_3 = {name for name in having(catalog, "google") if name.startswith("gemini-2.5")}
    assert having(catalog, "google", thinking="none") == {"gemini-2.5-flash-image"}
    assert having(catalog, "google", thinking_off=True) == before_3 - {"gemini-2.5-pro"}
    assert having(catalog, "google", tools=False, json_schema=False, json_object=False) == pictures
    assert having(catalog, "google", json_with_tools=False) == before_3 | pictures
    assert having(catalog, "google", signatures=False) == {"gemini-2.5-flash-lite", "gemini-2.5-flash-image"}
    assert having(catalog, "google", tool_result_images=True) == having(catalog, "google") - before_3 - pictures
    assert {name for name, model in catalog.models.items() if model.outputs == ("text", "image")} == pictures


def test_xai_rules(catalog: Catalog) -> None:
    every = having(catalog, "xai")
    plain = {"grok-2", "grok-3"}
    silent = {"grok-4-fast-non-reasoning", "grok-4-1-fast-non-reasoning"}
    assert having(catalog, "xai", penalties=True) == having(catalog, "xai", stop=True) == plain
    assert having(catalog, "xai", logprobs=True, max_choices=128) == plain | silent
    assert having(catalog, "xai", logprobs=False, max_choices=1) == every - plain - silent
    assert having(catalog, "xai", logit_bias=False) == every
    hidden = {"grok-4", "grok-4-fast", "grok-4-1-fast"}
    assert having(catalog, "xai", thinking="none", thinking_off=False) == hidden
    assert having(catalog, "xai", thinking_off=False) == hidden | {"grok-3-mini"}
    assert {name: words for name, words in efforts(catalog, "xai").items() if words} == {
        "grok-3-mini": "low high",
        "grok-4.3": "none low medium high",
    }
    assert {name for name in every if "image" in catalog.models[name].inputs} == every - plain - {"grok-3-mini"}


def test_modelark_and_nous_rules(catalog: Catalog) -> None:
    assert set(efforts(catalog, "bytedance").values()) == {"minimal low medium high"}
    assert having(catalog, "bytedance", thinking="switch", json_object=False) == having(catalog, "bytedance")
    assert having(catalog, "bytedance", json_schema=False) == {"seed-2-0-lite-260428"}
    assert having(catalog, "nous", thinking="prompt", max_choices=1, logprobs=False, thinking_off=True) == {
        "hermes-4-405b",
        "hermes-4-70b",
    }
