"""Each fault alone under load: no case is lost or submitted twice, and every job finishes."""

from __future__ import annotations

import pytest

from tests.support.faults.catalog import api, broker, database, workers
from tests.support.faults.lanes import Plan, Programme
from tests.support.faults.scenarios import under

#: What the database says of itself, and what therefore has to be found in the workers' logs: not swallowed.
REPORTED = {
    "ledger_disk_full": "DiskFull",
    "ledger_read_only": "ReadOnlySqlTransaction",
    "ledger_deadlock": "DeadlockDetected",
    "ledger_serialization_failure": "SerializationFailure",
}
ON_THE_LEDGER = {fault.name: under(fault, reported=REPORTED.get(fault.name)) for fault in database.FAULTS}
ELSEWHERE = {fault.name: under(fault) for module in (broker, workers, api) for fault in module.FAULTS}
POOLS = {"pools": ("prefork", "threads")}
PLANS = (Plan(ON_THE_LEDGER, lanes=2, stage=POOLS | {"own_postgres": True}), Plan(ELSEWHERE, lanes=2, stage=POOLS))


@pytest.mark.parametrize("scenario", [*ON_THE_LEDGER, *ELSEWHERE])
def test_given_work_when_a_fault_strikes_then_nothing_is_lost_or_doubled(programme: Programme, scenario: str) -> None:
    programme.outcome(scenario)
