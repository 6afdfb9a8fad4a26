"""The benchmark's ratios and the verdicts drawn from them."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from tools.bench.load import Outcome
from tools.bench.measure import ColdStart, Results
from tools.bench.plot import svg
from tools.bench.report import costs, markdown, plain, ratios
from tools.bench.verdicts import Verdict, relative_dispersion, verdicts


def outcome(milliseconds: float, latency: float = 0.001, **fields: float) -> Outcome:
    """One round: 100 answers that cost ``milliseconds`` of CPU each."""
    return Outcome(
        answers=100,
        errors=0,
        events=0,
        cpu=0.1 * milliseconds,
        wall=1.0,
        latencies=[latency] * 100,
        coalesced=int(fields.get("coalesced", 0)),
        resident=fields.get("resident", 0.0),
        worker_cpu=[fields["busier"], fields["other"]] if "busier" in fields else [],
    )


def found(results: Results, words: str) -> Verdict:
    """The one verdict whose title contains these words."""
    [verdict] = [verdict for verdict in verdicts(results) if words in verdict.title]
    return verdict


def small(**costs: list[float]) -> Results:
    return Results(
        outcomes={"small": {target: [outcome(cost) for cost in rounds] for target, rounds in costs.items()}},
        signature={"small": [0.0003] * 3},
    )


def test_nothing_measured_is_all_skipped() -> None:
    assert {verdict.status for verdict in verdicts(Results())} == {"skipped"}


def test_ratios_are_made_round_by_round() -> None:
    verdict = found(small(gateway=[1.0, 2.0, 4.0], bare_signer=[0.5, 2.0, 3.0]), "signed 2 KiB answers")
    assert list(verdict.values) == pytest.approx([0.5, 1.0, 0.75])
    assert verdict.median == pytest.approx(0.75)
    assert verdict.status == "MISSED"


@pytest.mark.parametrize(
    ("words", "workload", "base", "other", "good", "bad"),
    [
        ("LiteLLM", "small", "gateway", "litellm", 15.01, 14.99),
        ("Portkey", "small", "gateway", "portkey", 2.01, 1.99),
        ("paced events", "paced", "gateway", "bare_proxy", 0.91, 0.89),
        ("by Anthropic", "anthropic", "gateway, OpenAI", "gateway", 1.09, 1.11),
        ("with payments", "paid", "gateway", "gateway_paid", 1.59, 1.61),
    ],
)
def test_ratios_of_cost_and_their_bounds(
    words: str, workload: str, base: str, other: str, good: float, bad: float
) -> None:
    for cost, word in ((good, "ok"), (bad, "MISSED")):
        results = Results(outcomes={workload: {base: [outcome(1.0)], other: [outcome(cost)]}})
        assert found(results, words).status == word


@pytest.mark.parametrize(("slowest", "word"), [(3.9, "ok"), (4.1, "MISSED")])
def test_the_slowest_of_a_crowd(slowest: float, word: str) -> None:
    crowd = outcome(1.0)
    crowd.latencies = [1.0] * 98 + [slowest] * 2
    assert found(Results(outcomes={"crowd": {"gateway": [crowd]}}), "1,000 connections").status == word


@pytest.mark.parametrize(("busier", "word"), [(0.59, "ok"), (0.61, "MISSED")])
def test_two_workers_are_held_against_one(busier: float, word: str) -> None:
    two = outcome(1.0, busier=busier, other=1 - busier)
    results = Results(outcomes={"workers": {"one_worker": [outcome(0.96)], "two_workers": [two]}})
    assert found(results, "busier").status == word
    assert list(found(results, "per CPU-second, two workers").values) == pytest.approx([0.96])
    assert list(found(results, "per second, two workers").values) == pytest.approx([1.0])


@pytest.mark.parametrize(("ours", "word"), [(0.58, "ok"), (0.60, "MISSED")])
def test_the_sum_of_forwarding_signing_and_allowance(ours: float, word: str) -> None:
    """1.2 × 0.1 ms + 1.05 × 0.3 ms + 0.15 ms = 0.585 ms."""
    verdict = found(small(gateway=[ours] * 3, bare_proxy=[0.1] * 3), "signature + 0.15 ms")
    assert verdict.median == pytest.approx(ours / 0.585)
    assert verdict.status == word


def test_added_latency_leaves_the_upstream_out() -> None:
    rounds = {"gateway": 0.0032, "bare_signer": 0.0022, "upstream": 0.0002}
    results = Results(outcomes={"alone": {name: [outcome(1.0, latency)] for name, latency in rounds.items()}})
    assert found(results, "added latency").median == pytest.approx(1.5)


def test_streams_memory_and_starts() -> None:
    results = Results(
        outcomes={
            "paced": {"gateway": [outcome(1.0, coalesced=99)]},
            "idle": {"gateway": [outcome(0.0, resident=65 * 1024)]},
        },
        cold_starts=[ColdStart(0.4, 60 * 2**20)],
    )
    assert found(results, "leaves with the headers").values == [0.99]
    assert found(results, "leaves with the headers").status == "MISSED"
    assert found(results, "KiB per idle stream").median == 65
    assert found(results, "KiB per idle stream").status == "MISSED"
    assert found(results, "first signed answer").status == "ok"
    assert found(results, "MiB resident").median == 60


def test_noise_is_half_the_quartiles_distance() -> None:
    assert relative_dispersion([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1 / 3)
    assert relative_dispersion([1.0, 9.0]) == 0
    assert relative_dispersion([0.0, 0.0, 0.0]) == 0


def test_latencies_by_share() -> None:
    measured = outcome(1.0)
    measured.latencies = [float(number) for number in range(100, 0, -1)]
    assert measured.percentile(0.5) == 51
    assert measured.percentile(0.99) == 100
    assert measured.percentile(1.0) == 100


def test_tables_show_what_was_measured() -> None:
    results = small(gateway=[1.0] * 3, bare_signer=[0.9] * 3)
    [head, row, other] = costs(results)
    assert row[:3] == ["2 KiB request", "gateway", "1000.0 µs per answer"]
    assert row[-1] == "3.33"
    assert other[1] == "bare signing proxy"
    assert len({len(cells) for cells in (head, row, other)}) == 1
    table = markdown(ratios(verdicts(results))).splitlines()
    assert table[1] == "| --- | --- | --- | --- | --- |"
    assert any("| 0.90 | ≥ 0.95 |" in line and "MISSED" in line for line in table)


def test_plain_columns_stand_under_each_other() -> None:
    assert plain([["a", "b"], ["long", "c"]]) == "a     b\nlong  c"


def test_the_picture_is_svg_with_one_bar_per_verdict() -> None:
    results = small(gateway=[1.0] * 3, bare_signer=[0.9] * 3, portkey=[9.0] * 3)
    root = ElementTree.fromstring(svg(verdicts(results), "a <caption>"))  # noqa: S314 - our own
    bars = [float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(bars) == 2
    assert bars[0] == pytest.approx(150 * 0.9 / 0.95, abs=0.1)
    assert bars[1] == 300
    assert all(later >= earlier for earlier, later in pairwise(bars))
