"""Many faults at once, by a seed that is printed: `FAULTS_SEED=… pytest tests/faults/test_mixes.py` repeats a run."""

from __future__ import annotations

import os
from random import Random, SystemRandom

import pytest

from tests.support.faults.catalog import api, broker, database, stopping, workers
from tests.support.faults.lanes import Plan, Programme, Scenario
from tests.support.faults.mix import Mix
from tests.support.faults.stage import Stage

FAULTS = (*workers.FAULTS, *broker.FAULTS, *database.FAULTS, *api.FAULTS, *stopping.FAULTS)
SEED = int(os.environ.get("FAULTS_SEED") or SystemRandom().randrange(10**6))


def mixed(number: int) -> Scenario:
    """One round with its own random seed."""

    def scenario(stage: Stage) -> None:
        Mix(stage, Random(f"{SEED}/{number}"), FAULTS).run(jobs=150, strikes=8)

    return scenario


SCENARIOS = {f"mix {number}": mixed(number) for number in range(2)}
#: One worker's wall clock is two minutes fast; a third one uses threads.
STAGE = {"own_postgres": True, "pools": ("prefork", "prefork", "threads"), "skews": {1: 120.0}}
PLANS = (Plan(SCENARIOS, lanes=1, stage=STAGE),)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_given_any_mix_of_faults_when_they_end_then_nothing_is_lost_or_doubled(
    programme: Programme, scenario: str
) -> None:
    print(f"FAULTS_SEED={SEED}")
    programme.outcome(scenario)
