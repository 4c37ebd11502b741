"""The dashboard, the alert rules and the autoscaling examples ask for metrics that exist, with labels that they have;
and the lists in docs/metrics.md are the code's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from worker.ledger.alert_models import AlertKind
from worker.ledger.states import AttemptOutcome, Reason, State
from worker.ledger.writer.holds import CIRCUITS, HoldName
from worker.policy.rate_limit import WINDOW_NAMES
from worker.telemetry.metrics import definitions
from worker.telemetry.metrics.definitions import Kind, Metric

PROJECT = Path(__file__).parent.parent.parent
DASHBOARD = json.loads((PROJECT / "examples/monitoring/grafana-dashboard.json").read_text())
RULES = yaml.safe_load((PROJECT / "examples/monitoring/alert-rules.yaml").read_text())
KEDA = yaml.safe_load((PROJECT / "examples/autoscaling/keda-scaledobject.yaml").read_text())
DOCS = (PROJECT / "docs/metrics.md").read_text()
RUNBOOK = (PROJECT / "docs/runbook.md").read_text()

BY_SAMPLE = {sample: metric for metric in definitions.ALL for sample in metric.samples}
#: What the labels of the ledger's gauges can be.
WORDS: dict[str, set[str]] = {
    definitions.JOBS.name: set(State),
    definitions.OPEN_DEAD_LETTERS.name: set(Reason),
    definitions.CIRCUIT_OPEN.name: set(CIRCUITS),
    definitions.HELD.name: set(HoldName) - set(CIRCUITS),
    definitions.WINDOW_USED.name: set(WINDOW_NAMES.values()),
    definitions.WINDOW_LIMIT.name: set(WINDOW_NAMES.values()),
    **{metric.name: set(metric.words) for metric in definitions.ALL if metric.words},
}


def targets(panels: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for panel in panels:
        for target in panel.get("targets", []):
            yield f"dashboard: {panel['title']}", target["expr"].replace("$__rate_interval", "5m")


def expressions() -> list[tuple[str, str]]:
    rules = [(f"alert: {rule['alert']}", rule["expr"]) for group in RULES["groups"] for rule in group["rules"]]
    keda = [("keda", trigger["metadata"]["query"]) for trigger in KEDA["spec"]["triggers"]]
    return [*targets(DASHBOARD["panels"]), *rules, *keda]


def selectors(expression: Any, *, ranged: bool = False) -> Iterator[tuple[Any, bool]]:
    """Each place where a metric is asked for, and whether over a time."""
    match type(expression).__name__:
        case "VectorSelector":
            yield expression, ranged
        case "MatrixSelector":
            yield expression.vector_selector, True
        case "Call":
            for argument in expression.args:
                yield from selectors(argument, ranged=ranged)
        case "AggregateExpr" | "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            yield from selectors(expression.expr, ranged=ranged)
        case "BinaryExpr":
            yield from selectors(expression.lhs, ranged=ranged)
            yield from selectors(expression.rhs, ranged=ranged)
        case "NumberLiteral" | "StringLiteral":
            pass
        case other:
            raise AssertionError(f"the test does not know {other}")


def groupings(expression: Any) -> Iterator[tuple[set[str], Any]]:
    """Each `by (…)`, and what it is applied to."""
    if type(expression).__name__ == "AggregateExpr" and expression.modifier is not None:
        yield set(expression.modifier.labels), expression.expr
    for part in ("expr", "lhs", "rhs"):
        if (inner := getattr(expression, part, None)) is not None:
            yield from groupings(inner)
    for argument in getattr(expression, "args", ()):
        yield from groupings(argument)


def labels_of(sample: str) -> set[str]:
    return {*BY_SAMPLE[sample].labels, *(["le"] if sample.endswith("_bucket") else [])}


@pytest.mark.parametrize(("where", "text"), expressions(), ids=[where for where, _ in expressions()])
def test_each_expression_asks_for_what_there_is(where: str, text: str) -> None:
    expression = promql_parser.parse(text)
    found = list(selectors(expression))
    assert found, where
    for selector, ranged in found:
        assert selector.name in BY_SAMPLE, f"{where}: there is no {selector.name}"
        metric = BY_SAMPLE[selector.name]
        assert ranged == (metric.kind is not Kind.GAUGE), f"{where}: {metric.name} is a {metric.kind}"
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels_of(selector.name), f"{where}: {metric.name} has no label {matcher.name}"
            for word in matcher.value.split("|") if metric.name in WORDS else []:
                assert word in WORDS[metric.name], f"{where}: {matcher.name} is never {word!r}"
    for labels, inner in groupings(expression):
        there = set.union(*(labels_of(selector.name) for selector, _ in selectors(inner)))
        assert labels <= there, f"{where}: grouped by {labels - there}, which is not there"


def test_the_dashboard_shows_every_metric() -> None:
    texts = [text for _, text in targets(DASHBOARD["panels"])]
    asked = {s.name for text in texts for s, _ in selectors(promql_parser.parse(text))}
    assert {BY_SAMPLE[name] for name in asked} == set(definitions.ALL)


def test_the_dashboard_can_be_loaded() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    assert DASHBOARD["templating"]["list"][0]["name"] == "datasource"
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"


def test_each_alert_says_what_happened_and_what_to_do() -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names))
    for rule in rules:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert f"| `{rule['alert']}` |" in RUNBOOK, "docs/runbook.md says what to do about it"
    assert set(re.findall(r"\| `(CaseWorker\w+)` \|", RUNBOOK)) == set(names)


def test_the_runbook_names_every_kind_of_alert_that_workers_send() -> None:
    assert [kind for kind in AlertKind if kind is not AlertKind.TEST and f"`{kind}`" not in RUNBOOK] == []


@pytest.mark.parametrize("metric", definitions.ALL, ids=lambda metric: metric.name)
def test_the_documentation_describes_each_metric_as_the_code_does(metric: Metric) -> None:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    assert f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |" in DOCS


def test_the_documentation_lists_no_metric_that_does_not_exist() -> None:
    listed = set(re.findall(r"\| `(case_worker_\w+)` \|", DOCS))
    assert listed == {metric.name for metric in definitions.ALL}


def test_names_follow_prometheus_conventions() -> None:
    for metric in definitions.ALL:
        assert re.fullmatch(r"case_worker_[a-z][a-z_]*", metric.name)
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
        if metric.kind is Kind.HISTOGRAM:
            assert metric.name.endswith("_seconds")
            assert list(metric.buckets) == sorted(metric.buckets)


def test_no_label_is_about_a_tenant_a_case_or_a_person() -> None:
    allowed = {
        "outcome",
        "reason",
        "endpoint",
        "status",
        "result",
        "place",
        "why",
        "state",
        "window",
        "circuit",
        "hold",
    }
    assert {label for metric in definitions.ALL for label in metric.labels} <= allowed


def test_the_words_of_labels_are_the_ledger_s() -> None:
    assert set(definitions.SUBMISSIONS.words) == set(AttemptOutcome)
    assert set(definitions.DIED.words) == set(Reason) - {Reason.MALFORMED_MESSAGE}
