"""All metrics with their Prometheus names. docs/metrics.md lists the same; a test compares them.

Labels hold only values from closed lists and HTTP statuses: no tenants, cases, addresses or messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The metric types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Durations are in seconds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """The values of a single label if known in advance, so that each series exists from the start."""
    buckets: tuple[float, ...] = ()

    @property
    def samples(self) -> frozenset[str]:
        """The names of its samples in queries."""
        if self.kind is Kind.HISTOGRAM:
            return frozenset(f"{self.name}{end}" for end in ("_bucket", "_count", "_sum"))
        return frozenset({self.name})


def _counter(name: str, about: str, *labels: str, words: Iterable[str] = ()) -> Metric:
    return Metric(name, Kind.COUNTER, about, labels, tuple(words))


def _gauge(name: str, about: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, about, labels)


def _histogram(name: str, about: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, Kind.HISTOGRAM, about, labels, buckets=buckets)


#: Seconds of one request. A slow body may take longer than the read timeout of 30 s.
_REQUEST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: Seconds from enqueue to submission: under a second normally, hours with a backlog or an outage.
_END_TO_END = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
#: Seconds of one dispatcher tick; it ticks every 50 ms.
_TICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

# ---- measured by each process for itself

SUBMITTED_AFTER = _histogram(
    "case_worker_enqueue_to_submitted_seconds",
    "From the enqueue of a job to the record that the API has its case.",
    buckets=_END_TO_END,
)
SUBMISSIONS = _counter(
    "case_worker_submissions_total",
    "Requests to submit a case, by outcome.",
    "outcome",
    words=(
        "submitted", "unauthorized", "refused", "rate_limited", "conflict", "server_error", "unusable", "not_sent",
        "unknown",
    ),
)  # fmt: skip
DIED = _counter(
    "case_worker_jobs_died_total",
    "Jobs that died and need a person, by reason.",
    "reason",
    words=(
        "second_unauthorized", "client_link_not_found", "validation", "business_rule", "forbidden", "not_found",
        "retries_exhausted", "outcome_unknown", "unexpected_response",
    ),
)  # fmt: skip
API_REQUEST = _histogram(
    "case_worker_api_request_seconds",
    "One request to a Debitura API, by endpoint and HTTP status; not_sent or no_answer without a response.",
    "endpoint",
    "status",
    buckets=_REQUEST,
)
MINTS = _counter(
    "case_worker_token_mints_total",
    "Requests for a new token, by result.",
    "result",
    words=("minted", "no_client_link", "refused", "key_rejected", "rate_limited", "unavailable"),
)
CACHE_HITS = _counter(
    "case_worker_token_cache_hits_total",
    "Tokens found in this process's memory or in the shared cache.",
    "place",
    words=("memory", "shared"),
)
UNAUTHORIZED_RETRIES = _counter(
    "case_worker_unauthorized_retries_total", "Requests retried with a fresh token after a 401."
)
SECOND_UNAUTHORIZED = _counter(
    "case_worker_second_unauthorized_total",
    "Second 401s, each an invalid client link, by the API's reason.",
    "reason",
    words=("unauthorized", "invalid_token", "token_expired", "token_revoked", "none_given", "other"),
)
TAKEN_BACK = _counter(
    "case_worker_jobs_taken_back_total",
    "Jobs that the dispatcher reclaimed: their message was not claimed in time, or their worker's lease expired.",
    "why",
    words=("unclaimed", "lease_expired"),
)
RELEASED = _counter("case_worker_jobs_released_total", "Jobs that the dispatcher put on the Celery queue.")
TICK = _histogram("case_worker_dispatcher_tick_seconds", "One tick of the leading dispatcher.", buckets=_TICK)

# ---- read from the ledger at each scrape: the same in every process

LEDGER_UP = _gauge("case_worker_ledger_up", "1 if the ledger responded; otherwise the gauges below are missing.")
JOBS = _gauge("case_worker_jobs", "Jobs by state.", "state")
OPEN_DEAD_LETTERS = _gauge("case_worker_open_dead_letters", "Failures that need a person, by reason.", "reason")
BACKLOG = _gauge("case_worker_backlog_jobs", "Jobs that are pending or waiting.")
OLDEST_PENDING = _gauge(
    "case_worker_oldest_pending_job_age_seconds",
    "Age of the oldest pending job since it became pending; 0 without one.",
)
WINDOW_USED = _gauge(
    "case_worker_rate_limit_used_requests", "Requests to the Customer API in each window of the rate limits.", "window"
)
WINDOW_LIMIT = _gauge(
    "case_worker_rate_limit_requests", "Requests that each window of the rate limits allows.", "window"
)
CIRCUIT_OPEN = _gauge("case_worker_circuit_open", "1 while a circuit is open, else 0.", "circuit")
HELD = _gauge("case_worker_rate_limit_held", "1 while an API's 429 pauses the fleet, else 0.", "hold")
DISPATCHER_LAG = _gauge(
    "case_worker_dispatcher_lag_seconds", "How long the most overdue job has waited for a dispatcher."
)
DISPATCHER_LEADS = _gauge("case_worker_dispatcher_leads", "1 if a worker's dispatcher is the leader, else 0.")
USEFUL_WORKERS = _gauge("case_worker_useful_workers", "Number of useful workers now, for autoscalers.")

MEASURED = (
    SUBMITTED_AFTER, SUBMISSIONS, DIED, API_REQUEST, MINTS, CACHE_HITS, UNAUTHORIZED_RETRIES, SECOND_UNAUTHORIZED,
    TAKEN_BACK, RELEASED, TICK,
)  # fmt: skip
READ = (
    LEDGER_UP, JOBS, OPEN_DEAD_LETTERS, BACKLOG, OLDEST_PENDING, WINDOW_USED, WINDOW_LIMIT, CIRCUIT_OPEN, HELD,
    DISPATCHER_LAG, DISPATCHER_LEADS, USEFUL_WORKERS,
)  # fmt: skip
ALL = MEASURED + READ
