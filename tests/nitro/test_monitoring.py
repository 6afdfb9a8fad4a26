"""Dashboard, alert rules and their documentation: every metric they name is exported by the gateway."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from gateway.openai_api.error_classes import CLASSES
from nitro.monitoring.dashboard import dashboard, page
from tools.metrics_page import BEGIN, END, documented, table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "nitro" / "monitoring"
KNOWN = {sample for metric in documented() for sample in metric.samples()}


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def test_dashboard_is_what_its_table_says() -> None:
    assert (FOLDER / "dashboard.json").read_text(encoding="utf-8") == page()


def test_page_has_every_metric() -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == table()


@pytest.mark.parametrize("file", ["dashboard.json", "alerts.yml", "alerts_test.yml"])
def test_only_metrics_that_exist_are_used(file: str) -> None:
    used = set(re.findall(r"\bgateway_\w+(?=[{\[ )])", (FOLDER / file).read_text(encoding="utf-8")))
    classes = set(CLASSES)
    assert used - classes
    assert used - classes - KNOWN == set()


def test_only_error_classes_that_exist_are_used() -> None:
    rules = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    named = {name for names in re.findall(r'error(?:=~?|!=|!~)"([^"]+)"', rules) for name in names.split("|")}
    for name in named:
        assert any(re.fullmatch(name, known) for known in CLASSES), name


def test_every_metric_is_on_the_dashboard_or_watched() -> None:
    watched = "\n".join(queries()) + (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    unwatched = {metric.name for metric in documented() if metric.name not in watched}
    assert unwatched == {"gateway_traced_requests_total"}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.needs("promtool")
def test_rules_are_valid() -> None:
    _promtool("check", "rules", "alerts.yml")
    _promtool("check", "config", "prometheus.yml")


@pytest.mark.needs("promtool")
def test_rules_fire_when_they_should() -> None:
    _promtool("test", "rules", "alerts_test.yml")


@pytest.mark.needs("promtool")
def test_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    """Checked as recording rules, which is what promtool parses."""
    plain = [query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in queries()]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(plain)]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    assert f"{len(plain)} rules found" in _promtool("check", "rules", str(file))


@pytest.mark.needs("promtool")
def test_a_node_that_never_had_a_heartbeat_is_in_no_age_of_heartbeats(tmp_path: Path) -> None:
    [query] = [query for query in queries() if "heartbeat_last_success" in query]
    series = [
        {"series": 'gateway_heartbeat_last_success_seconds{instance="never"}', "values": "0x10"},
        {"series": 'gateway_heartbeat_last_success_seconds{instance="once"}', "values": "60x10"},
    ]
    expected = [{"labels": '{instance="once"}', "value": 240}]
    test = {"expr": query.replace("$instance", ".*"), "eval_time": "5m", "exp_samples": expected}
    file = tmp_path / "test.yml"
    tests = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [test]}]}
    file.write_text(json.dumps(tests), encoding="utf-8")
    _promtool("test", "rules", str(file))


def _promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
