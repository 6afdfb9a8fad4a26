"""The live view: parsed metrics, rates and quantiles, and a frame of a running gateway."""

import asyncio
import inspect
import io
import math
import os
import re
import signal
import sys

import pytest
from rich.console import Console

from tests.running_gateway import RunningGateway
from tests.waiting import until
from tools.metrics_page import documented
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.top import screen
from tools.top.rates import Window
from tools.top.scrape import Scrape, read
from tools.top.screen import frame
from tools.verify.errors import UnreachableError


def scrape(moment: float, requests: int, counts: tuple[int, int, int] = (0, 0, 0)) -> Scrape:
    """``counts`` are the cumulative buckets up to 0.1 s, 1 s and infinity."""
    return read(
        f"""
gateway_workers{{version="0.1.0"}} 2
gateway_workers_ready 1
gateway_workers_lost_total 7
gateway_requests_total{{path="/v1",status="200"}} {requests}
gateway_requests_total{{path="/v1",status="400"}} 1
gateway_errors_total{{domain="caller",error="caller_unknown_url"}} {requests}
gateway_upstream_connections{{upstream="openai"}} 3
gateway_upstream_breaker_open{{upstream="openai"}} 2
gateway_upstream_errors_total{{error="upstream_auth",upstream="openai"}} {requests}
gateway_price_age_seconds{{token="opg"}} +Inf
gateway_settlements_total{{outcome="settled"}} 4
gateway_first_byte_seconds_bucket{{le="0.1",upstream="openai"}} {counts[0]}
gateway_first_byte_seconds_bucket{{le="1.0",upstream="openai"}} {counts[1]}
gateway_first_byte_seconds_bucket{{le="+Inf",upstream="openai"}} {counts[2]}
""",
        moment,
    )


def test_rates_between_two_scrapes() -> None:
    window = Window(scrape(12.0, 30), scrape(10.0, 10))
    assert window.rate("gateway_requests_total") == 10.0
    assert window.rate("gateway_requests_total", status="400") == 0.0
    assert Window(scrape(12.0, 30)).rate("gateway_requests_total") is None


def test_a_gateway_that_started_again_counts_from_zero() -> None:
    assert Window(scrape(12.0, 4), scrape(10.0, 1000)).increase("gateway_requests_total", status="200") == 4


def test_quantiles_are_interpolated() -> None:
    window = Window(scrape(12.0, 0, (50, 100, 100)))
    assert window.quantile(0.25, "gateway_first_byte_seconds") == pytest.approx(0.05)
    assert window.quantile(0.75, "gateway_first_byte_seconds") == pytest.approx(0.55)
    assert window.quantile(0.75, "gateway_first_byte_seconds", upstream="openai") == pytest.approx(0.55)
    assert Window(scrape(1.0, 0, (0, 0, 5))).quantile(0.5, "gateway_first_byte_seconds") == 1.0
    assert Window(scrape(1.0, 0)).quantile(0.5, "gateway_first_byte_seconds") is None
    assert Window(scrape(1.0, 0)).quantile(0.5, "gateway_overhead_seconds") is None


def drawn(window: Window) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(frame("http://gateway", window))
    return console.export_text()


def test_a_frame_tells_what_is_wrong() -> None:
    text = drawn(Window(scrape(12.0, 30, (50, 100, 100)), scrape(10.0, 10)))
    assert "workers 2, ready 1, lost 7" in text
    assert re.search(r"requests\s+10\.0/s", text)
    assert re.search(r"unknown_url\s+10\.0/s", text)
    assert re.search(r"openai\s+3 +0\.0/s +10\.0/s .*open in 2", text)
    assert re.search(r"price of opg\s+never", text)
    assert re.search(r"first output\s+100 ms", text)


def test_every_upstream_has_its_own_figures() -> None:
    page = "gateway_workers 1\n" + "".join(
        f"""gateway_upstream_connections{{upstream="{name}"}} {number}
gateway_answer_seconds_count{{upstream="{name}"}} {number + 1}
gateway_upstream_errors_total{{error="upstream_auth",upstream="{name}"}} {number + 2}
"""
        for name, number in (("xai", 3), ("nous", 6))
    )
    text = drawn(Window(read(page, 1.0)))
    assert re.search(r"nous\s+6 +7 +8 .*closed", text)
    assert re.search(r"xai\s+3 +4 +5 .*closed", text)


def test_a_frame_of_nothing() -> None:
    text = drawn(Window(read("gateway_workers 1", 1.0)))
    assert re.search(r"payments\s+off", text)
    assert re.search(r"since the last heartbeat\s+-", text)


def test_a_heartbeat_that_never_arrived_is_alarming_once_one_has_failed() -> None:
    text = drawn(Window(read('gateway_workers 1\ngateway_heartbeats_total{outcome="failed"} 1', 1.0)))
    assert re.search(r"since the last heartbeat\s+never", text)


@pytest.mark.parametrize("text", ["", "<html>", "other_metric 1", 'gateway_workers{version="1" 2'])
def test_what_is_not_a_gateways(text: str) -> None:
    with pytest.raises(UnreachableError):
        read(text, 0.0)


def test_infinity_is_kept() -> None:
    assert scrape(0.0, 1).maximum("gateway_price_age_seconds") == math.inf


def test_only_metrics_that_exist_are_shown() -> None:
    known = {metric.name for metric in documented()} | {name for metric in documented() for name in metric.samples()}
    used = set(re.findall(r'"(gateway_\w+)"', inspect.getsource(screen)))
    assert len(used) > 15
    assert used <= known


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.top", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_once(gateway: RunningGateway, fleet: Fleet) -> None:
    await gateway.chat("gpt-4.1", "Hi")
    await gateway.chat("claude-sonnet-4-6", "Hi", stream=True)
    await gateway.chat("no-such-model", "Hi")
    fleet.google.enqueue(Scenario(error="bad_key"))
    await gateway.chat("gemini-2.5-flash", "Hi")
    status, out, _ = await run(gateway.url, "--once", "--width", "180")
    assert status == 0
    assert "workers 1, ready 1" in out
    for name in ("openai", "anthropic", "google", "xai", "bytedance", "nous"):
        assert name in out
    assert re.search(r"unknown_model\s+1 ", out)
    assert re.search(r"auth\s+1 ", out)
    assert re.search(r"whole response\s+\S+ \S+", out)


async def test_a_pipe_gets_one_frame(gateway: RunningGateway) -> None:
    """Live frames would only be written at the end, which never comes."""
    status, out, _ = await run(gateway.url, "--width", "180")
    assert (status, out.count("since the start")) == (0, 1)


async def test_no_proxy_is_asked(
    gateway: RunningGateway, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    status, _, errors = await run(gateway.url, "--once")
    assert status == 0, errors


async def test_live_until_interrupted(gateway: RunningGateway) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.top", gateway.url, "--interval", "0.1", "--width", "160"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"},
    )
    assert process.stdout is not None
    await until(lambda: scrape_count(gateway) >= 3)
    async with asyncio.timeout(20):
        process.send_signal(signal.SIGINT)
        seen = (await process.stdout.read()).decode()
        assert await process.wait() == 0
    assert "since the start" in seen
    assert re.search(r"last \d+ s", seen)


def scrape_count(gateway: RunningGateway) -> float:
    where = {"path": "/metrics", "status": "200"}
    return gateway.services.metrics.registry.get_sample_value("gateway_requests_total", where) or 0.0


async def test_usage_and_absence(unused_tcp_port: int) -> None:
    status, _, err = await run(f"http://127.0.0.1:{unused_tcp_port}", "--once")
    assert (status, err.count("\n")) == (3, 1)
    assert (await run("ftp://gateway", "--once"))[0] == 2
    assert (await run("http://[gateway", "--once"))[0] == 2
    assert (await run("http://gate..way", "--once"))[0] == 3
    assert (await run("http://gateway", "--interval", "0"))[0] == 2
