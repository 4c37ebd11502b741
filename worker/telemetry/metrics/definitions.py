"""Every metric, by the name under which Prometheus knows it. Nothing is measured that is not listed here, and
docs/metrics.md lists the same; a test compares them.

No label holds a tenant, a case, an address or a message: only words of a closed list, and HTTP statuses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What may be done with a metric's values."""

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
    """For a metric with one label whose values are known beforehand: these, so that each is there from the start."""
    buckets: tuple[float, ...] = ()

    @property
    def samples(self) -> frozenset[str]:
        """The names under which its values can be asked for."""
        if self.kind is Kind.HISTOGRAM:
            return frozenset(f"{self.name}{end}" for end in ("_bucket", "_count", "_sum"))
        return frozenset({self.name})


def _counter(name: str, about: str, *labels: str, words: Iterable[str] = ()) -> Metric:
    return Metric(name, Kind.COUNTER, about, labels, tuple(words))


def _gauge(name: str, about: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, about, labels)


def _histogram(name: str, about: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, Kind.HISTOGRAM, about, labels, buckets=buckets)


#: Seconds of one request. Beyond the read timeout of 30 s an answer may still drip in.
_REQUEST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: Seconds of a job's whole way: a moment when all is well, hours under a backlog or an outage.
_WAY = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
#: Seconds of one look of the dispatcher, which looks every 50 ms.
_TICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

# ---- measured where it happens: each process counts for itself

SUBMITTED_AFTER = _histogram(
    "case_worker_enqueue_to_submitted_seconds",
    "From the enqueue of a job to the record that the API has its case.",
    buckets=_WAY,
)
SUBMISSIONS = _counter(
    "case_worker_submissions_total",
    "Requests to submit a case, by what became of them.",
    "outcome",
    words=(
        "submitted", "unauthorized", "refused", "rate_limited", "conflict", "server_error", "unusable", "not_sent",
        "unknown",
    ),
)  # fmt: skip
DIED = _counter(
    "case_worker_jobs_died_total",
    "Jobs that came to need a person, by reason.",
    "reason",
    words=(
        "second_unauthorized", "client_link_not_found", "validation", "business_rule", "forbidden", "not_found",
        "retries_exhausted", "outcome_unknown", "unexpected_response",
    ),
)  # fmt: skip
API_REQUEST = _histogram(
    "case_worker_api_request_seconds",
    "One request to a Debitura API, by endpoint and HTTP status; not_sent or no_answer where no answer came.",
    "endpoint",
    "status",
    buckets=_REQUEST,
)
MINTS = _counter(
    "case_worker_token_mints_total",
    "Requests for a new token, by what came of them.",
    "result",
    words=("minted", "no_client_link", "refused", "key_rejected", "rate_limited", "unavailable"),
)
CACHE_HITS = _counter(
    "case_worker_token_cache_hits_total",
    "Tokens that were found: in this process's memory or in the shared cache.",
    "place",
    words=("memory", "shared"),
)
UNAUTHORIZED_RETRIES = _counter(
    "case_worker_unauthorized_retries_total", "Requests that were sent once more with a fresh token after a 401."
)
SECOND_UNAUTHORIZED = _counter(
    "case_worker_second_unauthorized_total",
    "Second 401s, each an invalid client link, by the reason that the API gave.",
    "reason",
    words=("unauthorized", "invalid_token", "token_expired", "token_revoked", "none_given", "other"),
)
TAKEN_BACK = _counter(
    "case_worker_jobs_taken_back_total",
    "Jobs that the dispatcher took back: nobody claimed their message in time, or their worker's lease ran out.",
    "why",
    words=("unclaimed", "lease_expired"),
)
RELEASED = _counter("case_worker_jobs_released_total", "Jobs that the dispatcher put on the Celery queue.")
TICK = _histogram("case_worker_dispatcher_tick_seconds", "One look of the leading dispatcher.", buckets=_TICK)

# ---- read from the ledger when somebody asks: the same from every process

LEDGER_UP = _gauge("case_worker_ledger_up", "1 if the ledger answered; without it the gauges below are missing.")
JOBS = _gauge("case_worker_jobs", "Jobs by state.", "state")
OPEN_DEAD_LETTERS = _gauge("case_worker_open_dead_letters", "Failures that need a person, by reason.", "reason")
BACKLOG = _gauge("case_worker_backlog_jobs", "Jobs that are pending or waiting.")
OLDEST_PENDING = _gauge(
    "case_worker_oldest_pending_job_age_seconds", "For how long the oldest pending job has been pending; 0 without one."
)
WINDOW_USED = _gauge(
    "case_worker_rate_limit_used_requests", "Requests to the Customer API in each window of the rate limits.", "window"
)
WINDOW_LIMIT = _gauge(
    "case_worker_rate_limit_requests", "Requests that each window of the rate limits allows.", "window"
)
CIRCUIT_OPEN = _gauge("case_worker_circuit_open", "1 while a circuit is open, else 0.", "circuit")
HELD = _gauge("case_worker_rate_limit_held", "1 while an API's 429 holds the fleet, else 0.", "hold")
DISPATCHER_LAG = _gauge(
    "case_worker_dispatcher_lag_seconds", "For how long the longest overdue job waits for a dispatcher to wake it."
)
DISPATCHER_LEADS = _gauge("case_worker_dispatcher_leads", "1 if some worker's dispatcher leads, else 0.")
USEFUL_WORKERS = _gauge("case_worker_useful_workers", "How many workers are useful now: for autoscalers.")

MEASURED = (
    SUBMITTED_AFTER, SUBMISSIONS, DIED, API_REQUEST, MINTS, CACHE_HITS, UNAUTHORIZED_RETRIES, SECOND_UNAUTHORIZED,
    TAKEN_BACK, RELEASED, TICK,
)  # fmt: skip
READ = (
    LEDGER_UP, JOBS, OPEN_DEAD_LETTERS, BACKLOG, OLDEST_PENDING, WINDOW_USED, WINDOW_LIMIT, CIRCUIT_OPEN, HELD,
    DISPATCHER_LAG, DISPATCHER_LEADS, USEFUL_WORKERS,
)  # fmt: skip
ALL = MEASURED + READ
