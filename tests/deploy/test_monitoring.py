"""What is delivered for Prometheus and Grafana: sound by their own tools, and about metrics that exist."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from orders.operations import scrape
from orders.telemetry import metrics
from orders.telemetry.metrics import PROCESS, READ

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"].replace("$__rate_interval", "1m") for panel in PANELS for target in panel["targets"]]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in RULES)]
OTHERS = {"up"}
"""What Prometheus itself adds."""
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture
def promtool():
    """Prometheus' own tool, run on arguments; Debian has it in the package `prometheus`."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus, or any release of Prometheus on the PATH")

    def run(*arguments, feed=""):
        done = subprocess.run([tool, *arguments], input=feed, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_the_configuration_is_sound(promtool):
    assert "is valid prometheus config" in promtool("check", "config", str(MONITORING / "prometheus.yml"))


def test_the_alerts_fire_on_what_they_are_for_and_on_nothing_else(promtool):
    assert f"{len(RULES)} rules found" in promtool("check", "rules", str(MONITORING / "alerts.yml"))
    assert "SUCCESS" in promtool("test", "rules", str(MONITORING / "alerts.test.yml"))


def test_the_dashboards_queries_are_sound(promtool, tmp_path):
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(QUERIES)} rules found" in promtool("check", "rules", str(tmp_path / "queries.yml"))


def test_the_metrics_are_named_and_described_as_prometheus_asks(promtool, bench):
    bench.quote_all()
    bench.run(bench.place(2))
    bench.archive()
    said = promtool("check", "metrics", feed=scrape.exposition().decode())
    # Debian's promtool says nothing of what is right.
    assert said == "", said


def series():
    """Name every series there can be, and its labels where it has some by now."""
    counted = {f"{family.name}{suffix}" for family in PROCESS.collect() for suffix in SUFFIXES[family.type]}
    return counted | set(READ)


def named(expression):
    """Name the metrics an expression asks for: what looks like ours, or stands where a metric must."""
    return set(re.findall(r"\b(?:engine|process)_\w+|\bup\b(?=\{)", expression))


def test_every_metric_on_the_dashboard_and_in_an_alert_exists():
    asked = set().union(*map(named, EXPRESSIONS))
    assert asked - series() - OTHERS == set()
    assert len(asked) > 30


def test_every_metric_of_the_engine_is_on_the_dashboard_or_in_an_alert():
    asked = set().union(*map(named, EXPRESSIONS))
    # A histogram is on it if any of its series are.
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series() if name.startswith("engine_")}
    assert families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} == set()


def test_labels_asked_for_are_labels_there_are():
    known = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    known |= {label for gauge in READ.values() for label in gauge.labels}
    known |= {"stage", "status", "le", "job", "process"}
    for expression in EXPRESSIONS:
        grouped = re.findall(r"\b(?:by|ignoring|on|without) \(([^)]*)\)", expression)
        matched = re.findall(r"[{,]\s*(\w+)\s*[=!]", expression)
        asked = {label.strip() for labels in grouped for label in labels.split(",")} | set(matched)
        assert asked <= known, (expression, asked - known)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_what_to_do(rule):
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "action", "page"}
    assert all(text.strip() for text in rule["annotations"].values())
    assert len(rule["annotations"]["action"]) > 40


def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] and panel["description"] for panel in PANELS)
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {"${datasource}"}
    places = sorted((p["gridPos"]["y"], p["gridPos"]["x"], p["gridPos"]["w"], p["gridPos"]["h"]) for p in PANELS)
    for (y, x, width, height), (next_y, next_x, _, _) in pairwise(places):
        assert x + width <= 24
        assert next_x >= x + width if next_y == y else next_y >= y + height


# What Grafana writes of a panel, a query and a place; anything else here is a slip that it would drop without a word.
OF_A_ROW = {"collapsed", "gridPos", "id", "panels", "title", "type"}
OF_A_PANEL = {"datasource", "description", "fieldConfig", "gridPos", "id", "options", "targets", "title", "type"}
OF_A_TARGET = {"datasource", "editorMode", "expr", "legendFormat", "range", "instant", "refId"}
OF_A_DASHBOARD = {
    *("annotations", "editable", "fiscalYearStartMonth", "graphTooltip", "links", "liveNow", "panels", "refresh"),
    *("schemaVersion", "tags", "templating", "time", "timezone", "title", "uid", "version"),
}
OPTIONS = {
    "stat": {"colorMode", "graphMode", "justifyMode", "orientation", "reduceOptions", "textMode"},
    "timeseries": {"legend", "tooltip"},
}
UNITS = {"none", "s", "ops", "bytes", "percentunit", "short", "cpm"}


def test_the_dashboard_has_nothing_that_grafana_does_not_know():
    assert set(DASHBOARD) <= OF_A_DASHBOARD
    for panel in DASHBOARD["panels"]:
        assert set(panel) == (OF_A_ROW if panel["type"] == "row" else OF_A_PANEL), panel["title"]
        assert set(panel["gridPos"]) == {"h", "w", "x", "y"}
    for panel in PANELS:
        assert set(panel["options"]) <= OPTIONS[panel["type"]], panel["title"]
        assert set(panel["fieldConfig"]) == {"defaults", "overrides"}
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert all(set(target) <= OF_A_TARGET and target["expr"] for target in panel["targets"]), panel["title"]


def test_every_query_of_a_panel_has_a_letter_of_its_own_and_every_variable_exists():
    known = {one["name"] for one in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]
    asked = re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"]) + json.dumps(DASHBOARD["annotations"]))
    assert set(asked) == known


def labels_of(query):
    """Name the labels a query's answer has: those it is grouped by, else those of its metric and of its process."""
    grouped = re.findall(r"\bby \(([^)]*)\)", query)
    if grouped or re.match(r"(?:sum|min|max|count)\(", query):
        return {label.strip() for labels in grouped for label in labels.split(",")}
    read = {label for name in named(query) if name in READ for label in READ[name].labels}
    return read | {"process", "instance", "job"}


def test_a_legend_names_labels_that_its_query_has():
    for panel in PANELS:
        for target in panel["targets"]:
            shown = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
            assert shown <= labels_of(target["expr"]), (panel["title"], target["expr"], shown)
            several = "by (" in target["expr"] and not target["expr"].startswith("histogram_quantile")
            assert shown or not several, (panel["title"], target["expr"])


def test_every_panel_stands_under_a_row_and_no_line_has_a_hole():
    ordered = sorted(DASHBOARD["panels"], key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"]))
    assert ordered[0]["type"] == "row" and ordered == DASHBOARD["panels"]
    bottom = 0
    for y in sorted({panel["gridPos"]["y"] for panel in ordered}):
        line = [panel["gridPos"] for panel in ordered if panel["gridPos"]["y"] == y]
        assert y == bottom and sum(place["w"] for place in line) == 24 and len({place["h"] for place in line}) == 1
        bottom = y + line[0]["h"]


def test_what_an_alert_says_names_labels_that_its_expression_has():
    for rule in RULES:
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        if "by (" in rule["expr"]:
            grouped = {
                label.strip() for found in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in found.split(",")
            }
            assert shown <= grouped, rule["alert"]
        else:
            assert shown <= labels_of(rule["expr"]) | {"part"}, rule["alert"]
