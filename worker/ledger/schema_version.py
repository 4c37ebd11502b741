"""Decide whether this code works with that schema version. Pure; `worker.ledger.migrate` asks the database.

Migrations only add, so code keeps working with a schema newer than itself: workers of two versions can run side by side
during a rollout. A migration that breaks older code declares `oldest_code`, the oldest code version that works with it;
the database stores that in `schema_support`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Compatibility(StrEnum):
    """How a database's schema relates to this code."""

    SAME = "same"
    """It is the one that this code was written for."""
    NEWER = "newer"
    """It is newer, and declares that it still supports this code."""
    TOO_OLD = "too_old"
    """It lacks migrations that this code needs, or was never migrated."""
    TOO_NEW = "too_new"
    """It is newer, and does not declare that it supports this code."""


@dataclass(frozen=True, slots=True)
class CodeSchema:
    """The schema versions that this code knows: those of its own migrations."""

    newest: str
    known: Collection[str]


@dataclass(frozen=True, slots=True)
class DatabaseSchema:
    """The schema version of a database."""

    version: str | None
    """Its newest migration; None: it was never migrated."""
    oldest_code: str | None
    """The oldest code version that it supports; None: not declared."""


def compatibility(code: CodeSchema, database: DatabaseSchema) -> Compatibility:
    """Return how they fit.

    Code that knows the version named by `oldest_code` is at least as new as it, since code carries all migrations up to
    its own.
    """
    if database.version == code.newest:
        return Compatibility.SAME
    if database.version is None or database.version in code.known:
        return Compatibility.TOO_OLD
    return Compatibility.NEWER if database.oldest_code in code.known else Compatibility.TOO_NEW


def describe(code: CodeSchema, database: DatabaseSchema) -> str:
    """Describe in one line what is wrong, the versions of both, and what to do."""
    at = f"the database's schema is at version {database.version or 'none'}, and this code needs {code.newest}"
    if compatibility(code, database) is Compatibility.TOO_OLD:
        return f"{at}: run `case-worker migrate` with this code"
    needed = f" (version {database.oldest_code} or newer)" if database.oldest_code else ""
    return f"{at}; the database is newer and no longer suits this code: deploy newer code{needed}"
