"""The ledger's gauges for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from worker.fleet.reading import Fleet, FleetReader
from worker.ledger.states import Reason
from worker.ledger.writer.holds import CIRCUITS, HoldName
from worker.policy.rate_limit import WINDOW_NAMES, Window
from worker.telemetry.metrics import definitions

log = structlog.get_logger(__name__)


class LedgerGauges(Collector):
    """Reads the ledger at each scrape. If the ledger is unavailable, reports only that."""

    def __init__(self, reader: FleetReader) -> None:
        self._reader = reader

    def collect(self) -> Iterable[Metric]:
        """One family for each metric in `definitions.READ`."""
        try:
            fleet = self._reader.read()
        except SQLAlchemyError as error:
            log.warning("metrics_without_ledger", error=type(error).__name__)
            yield _one(definitions.LEDGER_UP, 0)
            return
        yield _one(definitions.LEDGER_UP, 1)
        yield from _of(fleet)


def _of(fleet: Fleet) -> Iterable[Metric]:
    counts, jobs = fleet.counts, fleet.counts.jobs
    holds = {hold["name"]: bool(hold["in_force"]) for hold in counts.holds}
    yield _by_word(definitions.JOBS, jobs)
    yield _by_word(definitions.OPEN_DEAD_LETTERS, {reason.value: 0 for reason in Reason} | counts.by_reason)
    yield _one(definitions.BACKLOG, jobs["pending"] + jobs["waiting"])
    yield _one(definitions.OLDEST_PENDING, counts.oldest_pending_seconds or 0.0)
    yield _by_word(definitions.WINDOW_USED, {_name(use.window): use.used for use in fleet.windows})
    yield _by_word(definitions.WINDOW_LIMIT, {_name(use.window): use.window.amount for use in fleet.windows})
    # A circuit counts as open while it has a row, even when its time is up and it is being probed.
    yield _by_word(definitions.CIRCUIT_OPEN, {name: name in holds for name in CIRCUITS})
    limits = [name for name in HoldName if name not in CIRCUITS]
    yield _by_word(definitions.HELD, {name: holds.get(name, False) for name in limits})
    yield _one(definitions.DISPATCHER_LAG, fleet.due.lag)
    yield _one(definitions.DISPATCHER_LEADS, counts.leader is not None)
    yield _one(definitions.USEFUL_WORKERS, fleet.advice.workers)


def _one(metric: definitions.Metric, value: float) -> Metric:
    return GaugeMetricFamily(metric.name, metric.help, value=float(value))


def _by_word(metric: definitions.Metric, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for word, value in values.items():
        family.add_metric([str(word)], float(value))
    return family


def _name(window: Window) -> str:
    return WINDOW_NAMES.get(window.seconds, f"{window.seconds}s")
