"""The doctor's look at the keys of sealed cases: is there a job that waits for one that is missing here?"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine

from worker.cli.finding import Finding, Verdict
from worker.ledger.queries.sealing import PLAIN, keys_waited_for
from worker.report.formatting import counted
from worker.settings import Settings


def check_case_keys(settings: Settings, engine: Engine) -> Iterator[Finding]:
    """One finding for each key that a waiting job's case is sealed with and that is not configured; one if all are."""
    keyring = settings.protection.keyring
    known = {PLAIN, *(keyring.fingerprints if keyring else ())}
    with engine.connect() as connection:
        waited_for = keys_waited_for(connection)
    missing = {key: jobs for key, jobs in waited_for.items() if key not in known}
    for key, jobs in sorted(missing.items()):
        said = f"{counted(jobs, 'waiting job')} sealed with key {key}, which is not in CASE_ENCRYPTION_KEYS"
        yield Finding("case keys", Verdict.FAILED, said, "Put that key back, behind the newest one, and restart.")
    if keyring and not missing:
        yield Finding("case keys", Verdict.OK, f"the newest is {keyring.newest}; no job waits for a missing one")
