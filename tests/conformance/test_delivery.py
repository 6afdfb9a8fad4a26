"""Answers that are split, stall, break off or are malformed, from every vendor."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from gateway.catalog import Catalog
from gateway.signing import Signer
from tests.conformance.harness import Harness, open_harness
from tests.event_streams import events
from tests.running_gateway import FAST
from tests.upstreams.anthropic_chats import as_stream
from tests.upstreams.anthropic_events import start, text
from tools.simulators import RawReply, Scenario, ToolCall
from tools.verify.claims import Verdict

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = ("gpt-4.1", "grok-4.3", "seed-1.8", "hermes-4-405b", "claude-sonnet-4-6", "gemini-2.5-flash")
TEXT = "Grüße 👩‍👩‍👧 " * 60
TOOL = {"type": "function", "function": {"name": "weather"}}
SILENCE = 0.4
COMPLETE = {Verdict.PASS}

every_model = pytest.mark.parametrize("model", MODELS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def short_timeouts(signer: Signer, catalog: Catalog) -> AsyncIterator[Harness]:
    """A gateway with read timeouts of less than half a second."""
    limits = replace(FAST, first_byte_timeout=SILENCE, read_timeout=SILENCE, max_attempts=1)
    async with open_harness(signer, catalog, limits) as opened:
        yield opened


def request(model: str, *, stream: bool) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream, "tools": [TOOL]}


HARMLESS = {
    "byte by byte": Scenario(chunk_bytes=1),
    "seven bytes at a time": Scenario(chunk_bytes=7),
    "in pieces of an odd size": Scenario(chunk_bytes=1021),
    "with a comment": Scenario(comment_at=2),
    "slowly": Scenario(event_delay=0.002),
    "with a pause": Scenario(stall_after=3, stall_seconds=0.1),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("manner", HARMLESS)
@every_model
async def test_the_manner_of_delivery_makes_no_difference(
    harness: Harness, model: str, manner: str, stream: bool
) -> None:
    calls = (ToolCall(name="weather", arguments={"city": "Tromsø"}), ToolCall(name="weather", arguments=""))
    scenario = replace(HARMLESS[manner], text=TEXT, reasoning="", tool_calls=calls)
    harness.simulator(model).enqueue(scenario)
    exchange = await harness.ask(request(model, stream=stream))
    assert exchange.message["content"] == TEXT
    assert [call["function"]["arguments"] for call in exchange.message["tool_calls"]] == ['{"city":"Tromsø"}', "{}"]
    assert {claim.verdict for claim in exchange.claims} == COMPLETE


@every_model
async def test_an_answer_in_one_piece_to_a_request_for_a_stream(harness: Harness, model: str) -> None:
    harness.simulator(model).enqueue(Scenario(text=TEXT, reasoning="", json_instead_of_stream=True))
    exchange = await harness.ask(request(model, stream=True))
    assert exchange.message["content"] == TEXT
    assert {claim.verdict for claim in exchange.claims} == COMPLETE


BREAKS = {
    "cut": (Scenario(cut_after=6), "upstream_truncated"),
    "cut in the middle of an event": (Scenario(cut_after_bytes=4000), "upstream_truncated"),
    "garbage": (Scenario(garbage_at=6), "upstream_bad_response"),
    "stall": (Scenario(stall_after=6), "upstream_timeout"),
}


@pytest.mark.parametrize("fault", BREAKS)
@every_model
async def test_a_broken_stream_ends_in_an_error(short_timeouts: Harness, model: str, fault: str) -> None:
    """Delivered output is metered and billed; the caller gets neither ``[DONE]`` nor a signature."""
    short_timeouts.fleet.reset()
    scenario, code = BREAKS[fault]
    short_timeouts.simulator(model).enqueue(replace(scenario, text=TEXT, reasoning=""))
    exchange = await short_timeouts.ask(request(model, stream=True))
    *chunks, last = events(exchange.raw)
    assert (exchange.status, last["error"]["code"]) == (200, code)
    delivered = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert delivered
    assert TEXT.startswith(delivered)
    assert b"[DONE]" not in exchange.raw
    assert b"tee_signature" not in exchange.raw
    assert all(claim.verdict is not Verdict.PASS for claim in exchange.claims)
    record = await short_timeouts.record(exchange)
    assert (record.state, record.estimated) == ("settled", True)


async def test_a_complete_answer_that_told_its_output_only_provisionally_is_estimated(harness: Harness) -> None:
    """Claude's streams open with a provisional count such as 1; the final one is in an event that may be missing."""
    told = start(), *text(0, TEXT), {"type": "message_stop"}
    harness.fleet.anthropic.enqueue(Scenario(raw=RawReply(chunks=(as_stream(told),))))
    exchange = await harness.ask(request("claude-sonnet-4-6", stream=True))
    usage = exchange.answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (10, -(-len(TEXT.encode()) // 4))
    assert (await harness.record(exchange)).estimated is True


@every_model
async def test_a_stream_without_its_end_is_not_taken_for_complete(harness: Harness, model: str) -> None:
    """The last frame is missing: in OpenAI's shape that is ``[DONE]`` alone, and the answer is complete."""
    harness.simulator(model).enqueue(Scenario(text=TEXT, reasoning="", omit_end_marker=True))
    exchange = await harness.ask(request(model, stream=True))
    whole = harness.services.catalog.find(model).provider not in ("anthropic", "google")
    if whole:
        assert exchange.message["content"] == TEXT
        assert {claim.verdict for claim in exchange.claims} == COMPLETE
    else:
        assert events(exchange.raw)[-1]["error"]["code"] == "upstream_truncated"


WHOLE_BREAKS = {
    "cut": (Scenario(cut_after_bytes=100), 502, "upstream_truncated"),
    "garbage": (Scenario(garbage_at=0), 502, "upstream_bad_response"),
    "silence": (Scenario(first_byte_delay=SILENCE * 3), 504, "upstream_timeout"),
    "stall": (Scenario(stall_after=0), 504, "upstream_timeout"),
}


@pytest.mark.parametrize("fault", WHOLE_BREAKS)
@every_model
async def test_a_broken_answer_is_an_error_that_costs_nothing(short_timeouts: Harness, model: str, fault: str) -> None:
    short_timeouts.fleet.reset()
    scenario, status, code = WHOLE_BREAKS[fault]
    short_timeouts.simulator(model).enqueue(*[replace(scenario, text=TEXT, reasoning="")] * 3)
    exchange = await short_timeouts.ask(request(model, stream=False))
    assert (exchange.status, exchange.error["code"]) == (status, code)
    assert (await short_timeouts.record(exchange)).state == "released"


@every_model
async def test_a_stream_that_never_begins_is_a_plain_error(short_timeouts: Harness, model: str) -> None:
    short_timeouts.fleet.reset()
    short_timeouts.simulator(model).enqueue(Scenario(stall_after=0))
    exchange = await short_timeouts.ask(request(model, stream=True))
    assert (exchange.status, exchange.error["code"]) == (504, "upstream_timeout")
    assert exchange.headers["Content-Type"].startswith("application/json")
