"""Submits debt-collection cases to Debitura exactly once, remembers every outcome, shows people what needs them."""

from worker.errors import CaseWorkerError, IdempotencyKeyReused, InvalidCase
from worker.intake.enqueue import EnqueuedJob, enqueue_case

__all__ = ["CaseWorkerError", "EnqueuedJob", "IdempotencyKeyReused", "InvalidCase", "enqueue_case"]
