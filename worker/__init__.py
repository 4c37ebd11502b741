"""Submits debt-collection cases to Debitura exactly once, remembers every outcome, shows people what needs them."""

from worker.enqueue import EnqueuedJob, enqueue_case
from worker.errors import CaseWorkerError, IdempotencyKeyReused, InvalidCase

__all__ = ["CaseWorkerError", "EnqueuedJob", "IdempotencyKeyReused", "InvalidCase", "enqueue_case"]
