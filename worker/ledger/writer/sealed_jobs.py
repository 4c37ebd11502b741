"""Waking jobs that wait for a key, where that key is there now."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from worker.case.encryption import FINGERPRINT, PREFIX

#: Jobs woken in one statement at most.
CHUNK = 500

_WAKE = text(
    """
    WITH openable AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE state = 'waiting' AND due_at > now() AND wait_reason = 'key_missing'
          AND starts_with(case_body, :prefix) AND substr(case_body, length(:prefix) + 1, :size) = ANY(:keys)
        ORDER BY due_at LIMIT :chunk FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs j SET due_at = now() FROM openable WHERE j.id = openable.id
    """
)


def wake_decryptable(connection: Connection, keys: Sequence[str]) -> bool:
    """Make those jobs due that wait for one of these keys (fingerprints), some at a time. Returns whether more may be
    waiting."""
    parameters = {"prefix": PREFIX, "size": FINGERPRINT, "keys": list(keys)}
    return connection.execute(_WAKE, parameters | {"chunk": CHUNK}).rowcount == CHUNK
