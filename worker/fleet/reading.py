"""The fleet's state, read from the ledger on request and at most every few seconds, and its gauges for Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoAnswer

from worker.fleet.settings import FleetSettings
from worker.fleet.useful import Advice, Demand, Limit, Terms, allowed_rate, useful_workers
from worker.ledger import queries
from worker.ledger.queries.waiting import COUNTED_TENANTS, DueWork, WindowUse, due_work, windows_in
from worker.ledger.states import Api, Reason, State
from worker.ledger.writer.days import close_days_if_allowed
from worker.ledger.writer.holds import CIRCUITS, HoldName
from worker.ledger.writer.pace import use
from worker.policy.rate_limit import WINDOW_NAMES, Pace, Window
from worker.settings import Settings
from worker.telemetry.metrics import definitions

log = structlog.get_logger(__name__)


#: Seconds for which a result is cached, so that many callers cost no more than one.
KEPT_FOR = 3.0
#: Seconds that one who asks waits for the ledger; one that is so slow is as good as away. Prometheus waits for 10 s.
READ_TIMEOUT = 8.0
_STATEMENT_PATIENCE = text("SET LOCAL statement_timeout = '5s'")


@dataclass(frozen=True, slots=True)
class Fleet:
    """A snapshot of the fleet."""

    counts: queries.Counts
    windows: list[WindowUse]
    due: DueWork
    demand: Demand
    terms: Terms
    advice: Advice


class FleetReader:
    """Reads the fleet's state. Safe for many threads."""

    def __init__(
        self,
        settings: Settings,
        fleet: FleetSettings,
        engine: Engine,
        clock: Callable[[], float] = time.monotonic,
        timeout: float = READ_TIMEOUT,
    ) -> None:
        self._engine = engine
        self._pace = Pace.parse(settings.rate_limits)
        self.terms = Terms(
            slots=fleet.concurrency * settings.threads,
            children=fleet.concurrency,
            tenant_cap=settings.tenant_concurrency,
            minimum=fleet.scaling_minimum,
            drain=fleet.scaling_drain,
        )
        self._clock = clock
        self._timeout = timeout
        self._guard = threading.Lock()
        self._unanswered: Future[Fleet] | None = None
        self._known: Fleet | SQLAlchemyError | None = None
        self._read_at = 0.0

    def read(self) -> Fleet:
        """The state as of the last few seconds. Raises SQLAlchemyError when the ledger does not answer."""
        with self._guard:
            if self._known is None or self._clock() >= self._read_at + KEPT_FOR:
                try:
                    self._known = self._answer()
                except SQLAlchemyError as error:
                    # Cached as well: callers queued behind this one must not each wait for an unavailable ledger.
                    self._known = error
                self._read_at = self._clock()
            if isinstance(self._known, SQLAlchemyError):
                raise self._known.with_traceback(None)
            return self._known

    def _answer(self) -> Fleet:
        """Query in a thread: a frozen server neither answers nor closes, so its own time limits don't apply."""
        if self._unanswered is not None and not self._unanswered.done():
            raise NoAnswer("the ledger has not answered an earlier query yet")
        asked: Future[Fleet] = Future()
        self._unanswered = asked
        threading.Thread(target=self._ask, args=(asked,), name="fleet reader", daemon=True).start()
        try:
            return asked.result(self._timeout)
        except TimeoutError:
            raise NoAnswer("the ledger does not answer") from None

    def _ask(self, asked: Future[Fleet]) -> None:
        try:
            asked.set_result(self._look())
        except BaseException as error:  # noqa: BLE001 - passed on to the caller
            asked.set_exception(error)

    def _look(self) -> Fleet:
        close_days_if_allowed(self._engine)
        one_moment = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with one_moment.connect() as connection:
            connection.execute(_STATEMENT_PATIENCE)
            return look(connection, self._pace, self.terms)


def look(connection: Connection, pace: Pace, terms: Terms) -> Fleet:
    """Take a snapshot of the fleet."""
    counts = queries.counts(connection)
    windows = windows_in(connection, pace, use(connection, Api.CUSTOMER, pace))
    due = due_work(connection, within=terms.drain)
    demand = Demand(
        pending=counts.jobs[State.PENDING],
        due_soon=due.due_soon,
        under_way=counts.jobs[State.QUEUED] + counts.jobs[State.SUBMITTING],
        # The query stops counting at COUNTED_TENANTS; then assume that tenants are no limit.
        tenants=due.tenants if due.tenants < COUNTED_TENANTS else counts.jobs[State.PENDING],
        latency=due.latency,
        allowed=allowed_rate(pace, windows, terms.drain),
        held=any(hold["in_force"] or hold["name"] in CIRCUITS for hold in counts.holds),
    )
    return Fleet(counts, windows, due, demand, terms, useful_workers(demand, terms))


def as_data(fleet: Fleet) -> dict[str, Any]:
    """The body of `GET /scaling`: counts only."""
    demand, terms, advice = fleet.demand, fleet.terms, fleet.advice
    return {
        "useful_workers": advice.workers,
        "limited_by": advice.limit.value,
        "reasons": describe(fleet),
        "jobs": {"pending": demand.pending, "due_soon": demand.due_soon, "under_way": demand.under_way},
        "oldest_pending_seconds": fleet.counts.oldest_pending_seconds,
        "requests_per_second": {
            "wanted": round(advice.wanted, 3),
            "allowed": round(demand.allowed, 3),
            "expected": round(advice.rate, 3),
        },
        "request_seconds": round(advice.latency, 3),
        "requests_at_once_per_worker": terms.slots,
        "drain_seconds": terms.drain,
        "minimum_workers": terms.minimum,
    }


def describe(fleet: Fleet) -> list[str]:
    """Explain the number of workers, one step at a time."""
    demand, terms, advice = fleet.demand, fleet.terms, fleet.advice
    said = [_WHY[advice.limit]]
    if advice.limit is not Limit.NOTHING_TO_DO:
        said.append(
            f"{demand.jobs:,} jobs are under way or due within {terms.drain:g} s: {_number(advice.wanted)} requests a"
            f" second would bring them through in that time; the rate limits allow {_number(demand.allowed)}."
        )
        said.append(
            f"A request takes {advice.latency:.2g} s, and one worker has {terms.slots} under way at once: about"
            f" {_number(terms.slots / advice.latency)} a second."
        )
    if advice.workers and advice.workers == terms.minimum:
        said.append(f"Not fewer than {terms.minimum}, as configured.")
    return said


_WHY = {
    Limit.NOTHING_TO_DO: "Nothing is due.",
    Limit.HOLD: "A hold or an open circuit stands: one worker finds out when it is over, more would stand still.",
    Limit.PACE_USED_UP: "A rate limit is used up for now: more workers would stand still.",
    Limit.PACE: "The rate limits bound it: more workers would stand still.",
    Limit.TENANTS: "Few tenants have jobs, and each may have only some under way at once: more would stand still.",
    Limit.BACKLOG: "The backlog bounds it: more workers would find too little to do.",
}


def _number(rate: float) -> str:
    return f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"


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
