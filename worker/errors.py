"""Everything that can go wrong, as one tree. Each message tells its reader what to do next.

CaseWorkerError
├── SettingsError            a setting is missing or wrong: the process ends at startup, exit code 2
├── InvalidCase              refused at intake: what is wrong, and where in the input
├── IdempotencyKeyReused     the key belongs to a job with another case
├── JobNotFound              no such job
├── OperationNotFound        no such bulk operation
├── WrongState               the job is not (or no longer) in the state that the action needs
├── SelectionChanged         the action would affect more than the person saw and confirmed
├── LeaseLost                another worker holds the job now: step back
├── CaseSealed               a case can't be decrypted here: its key is missing, or its text was altered
├── SchemaMismatch           the database's schema does not fit this code
└── ApiError                 the Debitura APIs, seen from `worker.debitura`
    ├── NotSent              the request certainly did not arrive (name, connect and TLS failures)
    ├── MaybeArrived         the request may have arrived: its outcome is unknown
    ├── ClientLinkNotFound   the tenant has no active client link (mint: 404)
    ├── PartnerKeyRejected   our own API key is refused (mint: 401, 403): says nothing about any tenant
    ├── MintRefused          the mint refuses this tenant id for good (mint: 400 and other 4xx)
    ├── MintRateLimited      the Referral API's own 429
    └── MintUnavailable      the mint could not be reached or had a fault: try again later
"""

from __future__ import annotations

from uuid import UUID


class CaseWorkerError(Exception):
    """The base of all errors of this package."""


class SettingsError(CaseWorkerError):
    """A setting is missing or wrong. The message names the variable and what it should be."""


class InvalidCase(CaseWorkerError):
    """The input is refused at intake; nothing was stored."""

    def __init__(self, problem: str, *, where: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.problem = problem
        self.where = where


class IdempotencyKeyReused(CaseWorkerError):
    """The tenant's idempotency key belongs to an earlier job with another case; nothing was stored."""

    def __init__(self, *, key: str, job_id: UUID) -> None:
        super().__init__(
            f"idempotency key {key!r} belongs to job {job_id}, which has another case. "
            "If this is a second, different case, enqueue it with an idempotency key of its own."
        )
        self.key = key
        self.job_id = job_id


class JobNotFound(CaseWorkerError):
    """There is no job with that id in this database."""


class OperationNotFound(CaseWorkerError):
    """There is no bulk operation with that number in this database."""


class WrongState(CaseWorkerError):
    """The job is not, or no longer, in the state that the action needs."""


class SelectionChanged(CaseWorkerError):
    """The action would affect something other than what was confirmed; nothing was done. Look and confirm again."""


class LeaseLost(CaseWorkerError):
    """The claim expired and another process moved the job: the writer steps back."""


class CaseSealed(CaseWorkerError):
    """A text can't be decrypted: its key is not configured here, or the text was altered or belongs elsewhere."""

    def __init__(self, key: str, *, altered: bool = False) -> None:
        super().__init__(
            f"the case was sealed with key {key!r} and has been altered since, or belongs to another job: restore it"
            " from a backup"
            if altered
            else f"the case is sealed with key {key!r}, which is not in CASE_ENCRYPTION_KEYS here: put that key back"
            " (behind the newest one) and restart"
        )
        self.key = key
        self.altered = altered


class SchemaMismatch(CaseWorkerError):
    """The database's schema is too old or too new for this code. The message names both and what to do."""


class ApiError(CaseWorkerError):
    """The base of the errors of the two Debitura APIs."""


class NotSent(ApiError):
    """The request certainly did not arrive: no connection was made."""


class MaybeArrived(ApiError):
    """The request left, and no complete answer came back: its outcome is unknown."""


class ClientLinkNotFound(ApiError):
    """No active, non-archived client link for this tenant (referral-partners/getting-started/authentication)."""


class PartnerKeyRejected(ApiError):
    """The partner API key is wrong, revoked, or of the other environment. Don't fail a job for it."""


class MintRefused(ApiError):
    """The token endpoint refuses this tenant id; asking again would not help."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class MintRateLimited(ApiError):
    """The Referral API's rate limit; `retry_after` is in seconds."""

    def __init__(self, retry_after: float, *, said_by: str = "its answer") -> None:
        super().__init__(f"the Referral API's rate limit is reached, says {said_by}: wait {retry_after:g} s")
        self.retry_after = retry_after


class MintUnavailable(ApiError):
    """No token could be minted now; the tenant is not to blame."""
