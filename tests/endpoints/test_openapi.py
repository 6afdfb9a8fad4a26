"""``/openapi.json`` admits exactly the bodies that the gateway accepts, and describes its responses."""

from typing import Any

import jsonschema  # type: ignore[import-untyped] # has no types of its own
import pytest

from tests.running_gateway import CHAT, RunningGateway, StartGateway

COMPLETION = {"model": "gpt-4.1", "prompt": "Hi"}


async def read(gateway: RunningGateway) -> dict[str, Any]:
    async with gateway.session.get(gateway.url + "/openapi.json") as response:
        document: dict[str, Any] = await response.json()
    return document


def admits(document: dict[str, Any], schema: dict[str, Any], value: object) -> bool:
    validator = jsonschema.Draft202012Validator({"$ref": "#/it", "it": schema, "components": document["components"]})
    return bool(validator.is_valid(value))


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", CHAT), ("/v1/completions", COMPLETION), ("/v1/keys", {"openai_api_key": "k"})],
)
async def test_what_is_not_known_is_refused_as_announced(gateway: RunningGateway, path: str, body: Any) -> None:
    document = await read(gateway)
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    unknown = {**body, "colour": "red"}
    assert not admits(document, schema, unknown)
    assert (await gateway.post(path, unknown)).status == 400
    assert admits(document, schema, body)
    assert (await gateway.post(path, body)).status == 200


async def test_every_summary_is_one_sentence_about_the_endpoint(gateway: RunningGateway) -> None:
    document = await read(gateway)
    summaries = {path: operation["summary"] for path, each in document["paths"].items() for operation in each.values()}
    assert all(summary.endswith(".") for summary in summaries.values()), summaries
    assert summaries["/openapi.json"] == "The OpenAPI 3.1 document of this gateway."


async def test_keys_may_be_sealed(gateway: RunningGateway) -> None:
    document = await read(gateway)
    schema = document["paths"]["/v1/keys"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert admits(document, schema, {"sealed": "AAAA"})
    assert admits(document, schema, {"openai_api_key": "k"})
    assert not admits(document, schema, {})
    both = {"sealed": "AAAA", "openai_api_key": "k"}
    assert not admits(document, schema, both)
    assert (await gateway.post("/v1/keys", both)).status == 400


async def test_a_gateway_that_is_not_ready_answers_as_described(start_gateway: StartGateway) -> None:
    gateway = await start_gateway({})
    document = await read(gateway)
    async with gateway.session.get(gateway.url + "/health/ready") as response:
        body = await response.json()
    answers = document["paths"]["/health/ready"]["get"]["responses"]
    described = answers.get(str(response.status), answers["default"])
    assert admits(document, described["content"]["application/json"]["schema"], body)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_answers_may_have_to_be_paid_for(gateway: RunningGateway, path: str) -> None:
    """Clients that look for paid operations (agentcash) find them by the documented 402."""
    document = await read(gateway)
    assert document["paths"][path]["post"]["responses"]["402"]["headers"].keys() == {"PAYMENT-REQUIRED"}
    assert "402" not in document["paths"]["/v1/models"]["get"]["responses"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_streams_are_announced_without_a_schema(gateway: RunningGateway, path: str) -> None:
    """OpenAPI 3.1 cannot say of what the schema of a stream is: Schemathesis checks each event by it."""
    document = await read(gateway)
    assert document["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"] == {}
