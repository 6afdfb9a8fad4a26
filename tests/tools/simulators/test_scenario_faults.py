"""Faults of a scenario as clients of every vendor see them: delays, splits, corruption and truncation."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest

from tests.tools.simulators.clients import CHAT_MODELS, DEMANDED, HEADERS, HttpClient
from tests.waiting import until
from tools.simulators import RawReply, Scenario, Simulator, directive

VENDORS = [*CHAT_MODELS, "anthropic", "google"]


def stream_request(vendor: str, text: str = "hi") -> tuple[str, dict[str, Any]]:
    """Path and body of a stream request."""
    if vendor == "google":
        path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        return path, {"contents": [{"parts": [{"text": text}]}]}
    messages = [{"role": "user", "content": text}]
    if vendor == "anthropic":
        return "/v1/messages", {
            "model": "claude-haiku-4-5",
            "max_tokens": 100,
            "messages": messages,
            "stream": True,
        }
    body = {"model": CHAT_MODELS[vendor], "messages": messages, "stream": True, **DEMANDED.get(vendor, {})}
    return "/chat/completions", body


async def stream(http: HttpClient, vendor: str, text: str = "hi") -> aiohttp.ClientResponse:
    path, body = stream_request(vendor, text)
    return await http.session.post(http.fleet.simulators[vendor].base_url + path, json=body, headers=HEADERS[vendor])


async def until_broken(response: aiohttp.ClientResponse) -> bytes:
    """What arrives before the body breaks off."""
    received = bytearray()

    async def collect() -> None:
        async for data in response.content.iter_any():
            received.extend(data)

    with pytest.raises(aiohttp.ClientPayloadError):
        await collect()
    return bytes(received)


async def read(http: HttpClient, vendor: str, scenario: Scenario | None = None, text: str = "hi") -> bytes:
    if scenario is not None:
        http.fleet.simulators[vendor].enqueue(scenario)
    async with await stream(http, vendor, text) as response:
        return await response.read()


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def separator(vendor: str) -> bytes:
    return b"\r\n\r\n" if vendor == "google" else b"\n\n"


async def test_equal_requests_get_equal_bytes(http: HttpClient, vendor: str) -> None:
    assert await read(http, vendor) == await read(http, vendor)


async def test_splitting_changes_no_byte(http: HttpClient, vendor: str) -> None:
    whole = await read(http, vendor, Scenario(text="ünïcode 你好 👩‍👩‍👧"))
    simulator = http.fleet.simulators[vendor]
    simulator.reset()
    assert await read(http, vendor, Scenario(text="ünïcode 你好 👩‍👩‍👧", chunk_bytes=1)) == whole
    simulator.reset()
    assert await read(http, vendor, Scenario(text="ünïcode 你好 👩‍👩‍👧", chunk_bytes=7)) == whole


async def test_a_cut_after_events_breaks_the_body(http: HttpClient, vendor: str) -> None:
    http.fleet.simulators[vendor].enqueue(Scenario(text="one two three four five six", cut_after=1))
    async with await stream(http, vendor) as response:
        received = await until_broken(response)
    assert received.count(separator(vendor)) == 1


async def test_a_cut_after_bytes_is_exact(http: HttpClient, vendor: str) -> None:
    http.fleet.simulators[vendor].enqueue(Scenario(cut_after_bytes=50))
    async with await stream(http, vendor) as response:
        received = await until_broken(response)
    assert len(received) == 50


@pytest.mark.parametrize("scenario", [Scenario(cut_after=0), Scenario(cut_after_bytes=10)])
async def test_a_json_answer_can_be_cut(http: HttpClient, caplog: pytest.LogCaptureFixture, scenario: Scenario) -> None:
    for vendor in CHAT_MODELS:
        http.fleet.simulators[vendor].enqueue(scenario)
        with pytest.raises(aiohttp.ClientPayloadError):
            await http.chat(vendor)
    assert not caplog.records


async def test_a_client_that_leaves_a_json_answer_is_noticed(http: HttpClient) -> None:
    http.fleet.openai.enqueue(Scenario(first_byte_delay=60))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await http.chat("openai")
    await until(lambda: http.fleet.openai.abort_count == 1)


async def test_a_missing_end_marker_is_a_clean_end(http: HttpClient, vendor: str) -> None:
    whole = await read(http, vendor)
    marks = {"anthropic": b"message_stop", "google": b"finishReason"}
    mark = marks.get(vendor, b"[DONE]")
    without = await read(http, vendor, Scenario(omit_end_marker=True))
    assert mark in whole
    assert mark not in without


async def test_an_error_inside_a_stream_ends_it(http: HttpClient, vendor: str) -> None:
    body = await read(http, vendor, Scenario(text="word " * 60, error="overloaded", error_after=1))
    last = body.split(separator(vendor))[1]
    if vendor == "google":
        assert last.startswith(b"{\n")
        assert json.loads(last)["error"]["status"] == "UNAVAILABLE"
    else:
        data = json.loads(last.split(b"data: ")[1])
        assert "error" in data
    assert b"[DONE]" not in body


async def test_googles_error_can_be_a_frame(http: HttpClient) -> None:
    body = await read(http, "google", Scenario(error="overloaded", error_after=0, error_form="event"))
    assert json.loads(body.removeprefix(b"data: "))["error"]["code"] == 503


async def test_garbage_and_comments_stand_where_told(http: HttpClient, vendor: str) -> None:
    spoiled = await read(http, vendor, Scenario(garbage_at=0))
    with pytest.raises(UnicodeDecodeError):
        spoiled.decode()
    assert (await read(http, vendor, Scenario(comment_at=0))).startswith(b": keep-alive\n\n")


async def test_a_json_answer_has_no_comment_but_can_be_garbage(http: HttpClient) -> None:
    http.fleet.openai.enqueue(Scenario(comment_at=0), Scenario(garbage_at=0))
    assert (await http.chat("openai")).json["choices"]
    with pytest.raises(ValueError, match="codec can't decode"):
        await http.chat("openai")


async def test_json_can_stand_in_for_a_stream(http: HttpClient, vendor: str) -> None:
    http.fleet.simulators[vendor].enqueue(Scenario(json_instead_of_stream=True))
    async with await stream(http, vendor) as response:
        assert response.content_type == "application/json"
        assert await response.json()


async def test_xai_reports_an_outage_with_status_200(http: HttpClient) -> None:
    http.fleet.xai.enqueue(Scenario(error="overloaded", status=200))
    async with await stream(http, "xai") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert (await response.json())["code"] == "The service is currently unavailable"


async def test_delays_are_kept(http: HttpClient, vendor: str) -> None:
    start = time.monotonic()
    http.fleet.simulators[vendor].enqueue(Scenario(first_byte_delay=0.15, text="a"))
    async with await stream(http, vendor) as response:
        assert time.monotonic() - start >= 0.15
        await response.read()
    start = time.monotonic()
    await read(http, vendor, Scenario(stall_after=0, stall_seconds=0.15))
    assert time.monotonic() - start >= 0.15
    start = time.monotonic()
    await read(http, vendor, Scenario(event_delay=0.05, text="a"))
    assert time.monotonic() - start >= 0.05 * http.fleet.simulators[vendor].requests[-1].events_sent


async def test_a_client_that_leaves_a_stall_is_noticed_at_once(http: HttpClient, vendor: str) -> None:
    simulator = http.fleet.simulators[vendor]
    simulator.enqueue(Scenario(stall_after=1, text="word " * 60))
    response = await stream(http, vendor)
    await response.content.readany()
    left = time.monotonic()
    response.close()
    await until(lambda: simulator.abort_count == 1)
    (aborted,) = simulator.aborted
    assert aborted.aborted_at is not None
    assert 0 <= aborted.aborted_at - left < 1
    assert (aborted.events_sent, aborted.finished_at) == (1, None)
    await until(lambda: simulator.open_connections == 0)


async def test_a_finished_answer_is_no_abort(http: HttpClient, vendor: str) -> None:
    simulator = http.fleet.simulators[vendor]
    await read(http, vendor)
    await read(http, vendor)
    assert (simulator.request_count, simulator.abort_count, simulator.connection_count) == (2, 0, 1)
    assert simulator.requests[0].finished_at is not None
    assert simulator.requests[0].json == stream_request(vendor)[1]


async def test_a_prompt_can_spell_out_its_scenario(http: HttpClient, vendor: str) -> None:
    text = directive({"text": "Scripted.", "cut_after": None})
    assert b"Scripted." in await read(http, vendor, text=f"{text} and some words more")


async def test_a_misspelt_directive_is_refused(http: HttpClient, vendor: str) -> None:
    async with await stream(http, vendor, '@sim {"txet": 1}') as response:
        assert response.status == 400
        assert b"unknown scenario field 'txet'" in await response.read()


async def test_enqueued_scenarios_win_and_defaults_last(http: HttpClient, vendor: str) -> None:
    simulator = http.fleet.simulators[vendor]
    simulator.default = Scenario(text="Default.")
    simulator.enqueue(Scenario(text="Enqueued."))
    assert b"Enqueued." in await read(http, vendor, text=directive({"text": "Scripted."}))
    assert b"Scripted." in await read(http, vendor, text=directive({"text": "Scripted."}))
    assert b"Default." in await read(http, vendor)
    simulator.reset()
    assert b"Default." not in await read(http, vendor)


async def test_a_raw_reply_is_sent_unchecked_byte_for_byte(http: HttpClient, vendor: str) -> None:
    raw = RawReply(status=418, headers=(("content-type", "text/plain"), ("x-recorded", "1")), chunks=(b"a\r", b"\nb"))
    http.fleet.simulators[vendor].enqueue(Scenario(raw=raw))
    url = http.fleet.simulators[vendor].base_url + stream_request(vendor)[0]
    async with http.session.post(url, json={"nonsense": True}) as response:
        assert (response.status, response.headers["x-recorded"]) == (418, "1")
        assert await response.read() == b"a\r\nb"


async def test_a_proxy_page_is_html(http: HttpClient, vendor: str) -> None:
    http.fleet.simulators[vendor].enqueue(Scenario(error="proxy_page"))
    async with await stream(http, vendor) as response:
        assert (response.status, response.content_type) == (502, "text/html")


async def test_retired_models_answer_when_told_to(http: HttpClient) -> None:
    http.fleet.openai.enqueue(Scenario(serve_retired=True))
    assert (await http.chat("openai", model="o4-mini")).status == 200
    assert (await http.chat("openai", model="o4-mini")).status == 404


async def test_retry_after_takes_every_form(http: HttpClient) -> None:
    date = "Sun, 22 Nov 2026 00:00:30 GMT"
    http.fleet.openai.enqueue(
        Scenario(error="rate_limit", retry_after="7"),
        Scenario(error="overloaded", retry_after=date, retry_after_ms=250),
    )
    seconds = await http.chat("openai")
    dated = await http.chat("openai")
    assert (seconds.status, seconds.headers["retry-after"]) == (429, "7")
    assert (dated.headers["retry-after"], dated.headers["retry-after-ms"]) == (date, "250")
    assert "org-Simulated" in seconds.json["error"]["message"]


async def test_missing_usage_is_missing_everywhere(http: HttpClient, vendor: str) -> None:
    body = await read(http, vendor, Scenario(omit_usage=True))
    assert b'_tokens"' not in body
    assert b"TokenCount" not in body


async def test_only_so_many_requests_are_remembered(http: HttpClient) -> None:
    simulator: Simulator = http.fleet.openai
    for number in range(1100):
        simulator.requests.append(number)  # type: ignore[arg-type]
    assert len(simulator.requests) == 1000
