"""The ledger's vocabulary. The database's CHECK constraints list the same words; a test compares them."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class State(StrEnum):
    """The state of a job. Each state answers: who acts next?"""

    PENDING = "pending"
    """Ready, waiting for its turn. The dispatcher acts next."""
    WAITING = "waiting"
    """Not before `due_at` (a retry, a 429, an outage). The dispatcher acts when it is due."""
    QUEUED = "queued"
    """Its id is on the Celery queue. A worker acts, or the dispatcher again if the message was lost."""
    SUBMITTING = "submitting"
    """Claimed under a lease. That worker acts, or the dispatcher once the lease is over."""
    HELD = "held"
    """Another of the tenant's jobs found its client link invalid. A person fixes the link, or a rare probe succeeds."""
    SUBMITTED = "submitted"
    """The API has the case; `case_id` and `case_reference` are kept. Final."""
    DEAD = "dead"
    """Needs a person; an open dead letter says why. Replay or discard."""
    DISCARDED = "discarded"
    """A person gave it up, with a reason. Final."""


FINAL_STATES = (State.SUBMITTED, State.DISCARDED)


class Priority(IntEnum):
    """The order among jobs: smaller goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @classmethod
    def parse(cls, word: str) -> Priority:
        """Return the priority of that name (`high`, `normal`, `low`). Raises KeyError for any other word."""
        return {"high": cls.HIGH, "normal": cls.NORMAL, "low": cls.LOW}[word]


class Trigger(StrEnum):
    """Why a request was sent."""

    INITIAL = "initial"
    RETRY = "retry"
    UNAUTHORIZED_RETRY = "unauthorized_retry"
    REPLAY = "replay"


class WaitReason(StrEnum):
    """Why a `waiting` job waits."""

    BACKOFF = "backoff"
    """Its last attempt failed; it is tried again with backoff."""
    RATE_LIMIT = "rate_limit"
    """An API said that a rate limit is reached."""
    CONFLICT = "conflict"
    """A request under its key is still under way at the API (409)."""
    API_FAULT = "api_fault"
    """A circuit was open: the API had a fault that is not this job's."""
    NO_TOKEN = "no_token"  # noqa: S105 - a reason, not a secret
    """No token could be minted."""
    LOOK_UP_FAILED = "look_up_failed"
    """Its case must be looked up first, and the look-up failed."""
    KEY_MISSING = "key_missing"
    """Its case can't be decrypted here: the key is missing."""
    CASE_ALTERED = "case_altered"
    """Its case can't be decrypted: the stored text was altered."""
    WORKER_LOST = "worker_lost"
    """Its worker did not report back before the lease ended."""
    INTERNAL_ERROR = "internal_error"
    """A bug of ours ended its attempt."""
    STOPPED = "stopped"
    """No whole answer came before its worker gave up on the request."""


class TokenSource(StrEnum):
    """Where a request's token came from."""

    CACHED = "cached"
    MINTED = "minted"


class Reason(StrEnum):
    """Why a job is dead. docs/operating.md says what to do about each."""

    SECOND_UNAUTHORIZED = "second_unauthorized"
    CLIENT_LINK_NOT_FOUND = "client_link_not_found"
    VALIDATION = "validation"
    BUSINESS_RULE = "business_rule"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    RETRIES_EXHAUSTED = "retries_exhausted"
    OUTCOME_UNKNOWN = "outcome_unknown"
    MALFORMED_MESSAGE = "malformed_message"
    UNEXPECTED_RESPONSE = "unexpected_response"


#: The reasons that mean: the client link is invalid; talk to the client, the data is fine.
INVALID_LINK_REASONS = (Reason.SECOND_UNAUTHORIZED, Reason.CLIENT_LINK_NOT_FOUND)


#: The refusals that concern the case itself: the tenant's token was good.
OWN_REFUSALS = (Reason.VALIDATION, Reason.BUSINESS_RULE, Reason.FORBIDDEN, Reason.NOT_FOUND)
#: The reasons that are verdicts of an API. The others mean that no verdict came.
VERDICTS = (*INVALID_LINK_REASONS, *OWN_REFUSALS, Reason.UNEXPECTED_RESPONSE)


class Api(StrEnum):
    """Which of the two APIs; each has its own rate limits and its own circuit."""

    CUSTOMER = "customer"
    REFERRAL = "referral"


class Resolution(StrEnum):
    """What a person, or the brake, did about a dead letter."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"
    WITHDRAWN = "withdrawn"
    """The brake took it back: the API refused every job alike, so it was no verdict on this job."""


class AttemptOutcome(StrEnum):
    """How one request ended. An attempt without outcome is open: about to be sent, or sent and not yet answered."""

    SUBMITTED = "submitted"
    UNAUTHORIZED = "unauthorized"
    REFUSED = "refused"
    """A final answer that a person must deal with (400, 403, 404, 422 …)."""
    RATE_LIMITED = "rate_limited"
    CONFLICT = "conflict"
    SERVER_ERROR = "server_error"
    """5xx, or an answer that is not the API's: a redirect, a page of a firewall or gateway."""
    UNUSABLE = "unusable"
    """A 2xx without a case in it."""
    NOT_SENT = "not_sent"
    """No connection was made: the request certainly did not arrive."""
    UNKNOWN = "unknown"
    """It may have arrived: time ran out, the connection broke after sending, or the worker died."""


class Verb(StrEnum):
    """What a person does with dead jobs."""

    REPLAY = "replay"
    DISCARD = "discard"


class OperationState(StrEnum):
    """The state of a bulk operation. Only a running one has work left."""

    RUNNING = "running"
    """The process that holds its lease runs it; without a lease, the next process that finds it."""
    DONE = "done"
    """Everything selected was processed. Final."""
    STOPPED = "stopped"
    """A canary job died again, or the operation could not continue; the rest was left alone. Final."""
    CANCELLED = "cancelled"
    """A person cancelled it; what was already done stays done. Final."""


class ItemOutcome(StrEnum):
    """What a bulk operation did with one of the selected failures."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"
    SKIPPED = "skipped"
    """Left alone; the row says why."""


class AuditAction(StrEnum):
    """What a person or the worker did, in `audit_log`. `worker.report.audit_descriptions` has the words for people."""

    REPLAY = "replay"
    DISCARD = "discard"
    EDIT = "edit"
    REVEAL = "reveal"
    OPERATION_STARTED = "operation_started"
    OPERATION_FINISHED = "operation_finished"
    OPERATION_CANCELLED = "operation_cancelled"
    EXPORT = "export"
    ERASE = "erase"
    PURGE = "purge"
    REKEY = "rekey"
    RECONCILE = "reconcile"
    RECONCILE_ABSENT = "reconcile_absent"
    BRAKE_WITHDREW = "brake_withdrew"
    BRAKE_ACCEPTED = "brake_accepted"
    BRAKE_RELEASED = "brake_released"
    LINK_FREED = "link_freed"
