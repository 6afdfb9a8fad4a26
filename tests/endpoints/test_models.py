"""``GET /v1/models``: the models offered today, their prices and parameters."""

import json
from datetime import UTC, date, datetime, time
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.catalog import Catalog, bundled
from gateway.endpoints import models
from gateway.openai_api.request import parse_chat
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Chat
from gateway.upstreams.registry import adapters

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"name": "city", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}
ASKED: dict[str, dict[str, Any]] = {
    "tools": {"tools": [TOOL]},
    "parallel_tool_calls": {"tools": [TOOL], "parallel_tool_calls": False},
    "json_object": {"response_format": {"type": "json_object"}},
    "json_schema": {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    "temperature": {"temperature": 0.5},
    "stop": {"stop": ["x"]},
    "logprobs": {"logprobs": True},
}


def dropped(model: str, **parameters: Any) -> tuple[str, ...]:
    """The parameters dropped from a request; raises GatewayError if it is refused."""
    body = {"model": model, "messages": [{"role": "user", "content": "Answer in JSON"}], **parameters}
    bound = bundled().find(model)
    adapter = adapters()[bound.provider][bound.endpoint]
    return adapter.build_request(Chat(body, parse_chat(body), bound)).dropped


@pytest.mark.parametrize("model", bundled().models.values(), ids=lambda model: model.id)
def test_what_a_model_is_said_to_take_it_takes(model: Any) -> None:
    said = models._capabilities(model)
    for name, parameters in ASKED.items():
        if said[name]:
            assert dropped(model.id, **parameters) == ()
    for effort in said["reasoning_efforts"]:
        assert dropped(model.id, reasoning_effort=effort) == ()
    assert dropped(model.id, n=said["max_choices"]) == ()


@pytest.mark.parametrize(
    ("name", "json_object", "efforts"),
    [
        ("claude-sonnet-4-6", True, ["low", "medium", "high", "max"]),
        ("claude-haiku-4-5", True, ["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
        ("gemini-2.5-pro", True, ["minimal", "low", "medium", "high", "xhigh", "max"]),
        ("seed-1.6", True, ["minimal", "low", "medium", "high"]),
        ("seed-2-0-lite-260428", False, ["minimal", "low", "medium", "high"]),
        ("grok-2", True, []),
        ("gemini-2.5-flash-image", False, []),
    ],
)
def test_what_is_translated_may_be_asked_for(
    catalog: Catalog, name: str, json_object: bool, efforts: list[str]
) -> None:
    said = models._capabilities(catalog.models[name])
    assert (said["json_object"], said["reasoning_efforts"]) == (json_object, efforts)


def test_a_model_reasons_also_where_nothing_controls_it(catalog: Catalog) -> None:
    xai = [model for model in catalog.models.values() if model.provider == "xai"]
    assert {model.id for model in xai if models._capabilities(model)["reasoning"]} == {
        *("grok-3-mini", "grok-4", "grok-4-fast", "grok-4-1-fast", "grok-4.3")
    }


def test_an_announced_price_is_the_price_from_its_day_on(catalog: Catalog) -> None:
    flash = catalog.models["gemini-3.8-flash"]
    before, after = (
        models._pricing(flash, date(year, month, day)) for year, month, day in ((2026, 12, 31), (2027, 1, 1))
    )
    assert (before["input"], before["output"]) == ("0.75", "3.75")
    assert before["announced"] == {
        "input": "1.5",
        "cached_input": "0.15",
        "output": "7.5",
        "starts_on": "2027-01-01",
    }
    assert (after["input"], after["output"], "announced" in after) == ("1.5", "7.5", False)


@pytest.mark.parametrize(
    ("day", "price", "retired"), [(date(2026, 11, 29), "0.75", False), (date(2027, 1, 1), "1.5", True)]
)
async def test_prices_and_retirements_are_those_of_the_clock_that_answers_are_charged_by(
    catalog: Catalog, day: date, price: str, retired: bool
) -> None:
    midnight = datetime.combine(day, time(), UTC).timestamp()
    services: Any = SimpleNamespace(catalog=catalog, clock=lambda: int(midnight))
    leaving = next(model for model in catalog.models.values() if model.retires_on == date(2026, 11, 30))
    request: Any = SimpleNamespace(path=f"/v1/models/{leaving.id}")
    record = RequestRecord("r", "GET", "/v1/models")
    listed: Any = await models.list_models(services, request, record)
    one: Any = await models.get_model(services, request, record)
    entries = {entry["id"]: entry for entry in json.loads(listed.body)["data"]}
    assert entries["gemini-3.8-flash"]["pricing"]["input"] == price
    assert entries[leaving.id]["retired"] is retired
    assert json.loads(one.body) == entries[leaving.id]
