"""Real workers follow the autoscaling signal up and down, and no job is lost when workers are stopped."""

from __future__ import annotations

import signal
import socket
import time

import pytest
from autoscaling.follow import Follower

from tests.support.faults.lanes import Plan, Programme
from tests.support.faults.stage import Stage
from tests.support.until import until
from worker.fleet.reading import Fleet, FleetReader, look
from worker.fleet.settings import FleetSettings
from worker.fleet.useful import Limit, Terms
from worker.policy.rate_limit import Pace
from worker.settings import Settings

#: A worker of two children has 8 requests under way at once; a backlog should be through in 1 s.
SIZES = {
    "WORKER_THREADS": "4",
    "WORKER_BATCH": "4",
    "WORKER_CONCURRENCY": "2",
    "WORKER_SCALING_DRAIN_SECONDS": "1",
}
MOST = 3


class Autoscaler:
    """Start and stop workers by the signal, as a platform would."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        settings = Settings.from_environment(stage.environment)
        self.pace = Pace.parse(settings.rate_limits)
        self.terms: Terms = FleetReader(settings, FleetSettings.from_environment(stage.environment), stage.engine).terms
        self.follower = Follower(fewest=0, most=MOST, patience=0.5)
        self.seen: list[Fleet] = []
        self.numbers: list[int] = []
        self.ended: set[str] = set()

    def step(self) -> int:
        """Read the signal once and act on it. Returns the wanted number of workers."""
        with self.stage.engine.connect() as connection:
            fleet = look(connection, self.pace, self.terms)
        wanted = self.follower.decide(fleet.advice.workers, now=time.monotonic())
        self.seen.append(fleet)
        self.numbers.append(wanted)
        there = [node for node in self.stage.nodes if node.name not in self.ended]
        for node in there[wanted:]:
            node.kill("SIGTERM")
            self.ended.add(node.name)
        for _ in range(wanted - len(there)):
            self.stage.another_worker()
        return wanted

    def until_idle(self) -> None:
        """Follow the load until no work is left and every worker has stopped."""

        def idle() -> bool:
            wanted = self.step()
            return not wanted and all(node.status == "exited" for node in self.stage.nodes)

        until("the load has gone, and the workers with it", idle, within=60, but=self.stage.trouble)


def workers_follow_the_load(stage: Stage) -> None:
    scaler = Autoscaler(stage)
    stage.witness.be_slow(300)
    stage.enqueue(150, tenants=20)
    scaler.until_idle()
    assert max(scaler.numbers) == MOST, "a backlog brought all the workers that may be had"
    assert scaler.seen[-1].advice.limit is Limit.NOTHING_TO_DO
    stage.enqueue(3, tenants=3)
    scaler.numbers.clear()
    scaler.until_idle()
    assert max(scaler.numbers) == 1, "a few jobs brought one, although there was none to wake them"
    stage.settle()
    stage.require_invariant()
    stage.require_all_submitted()
    # One that was ended before it had begun dies of the signal.
    assert {node.exit_code for node in stage.nodes} <= {0, -signal.SIGTERM}


def an_ended_worker_leaves_nothing_behind(stage: Stage) -> None:
    """Stop one of two workers during its requests: they finish, other jobs are requeued, and no lease expires."""
    stage.witness.be_slow(700)
    stage.enqueue(60, tenants=20)
    victim, _stays = stage.nodes
    owners = [f"{socket.gethostname()}:{child.pid}" for child in victim.children()]

    def under_way() -> int:
        ((jobs,),) = stage.rows("SELECT count(*) FROM jobs WHERE lease_owner = ANY(%s)", owners)
        return int(jobs)

    until("it has requests under way", under_way, within=20, but=stage.trouble)
    victim.kill("SIGTERM")
    until("it has ended", lambda: victim.status == "exited", within=20, but=victim.said)
    assert victim.exit_code == 0
    assert under_way() == 0
    stage.settle()
    stage.require_invariant()
    stage.require_all_submitted()
    assert not stage.rows("SELECT job_id FROM attempts WHERE error_type = 'lease_expired'")


FOLLOWING = {"workers follow the load": workers_follow_the_load}
ENDING = {"an ended worker leaves nothing behind": an_ended_worker_leaves_nothing_behind}
PLANS = (
    Plan(FOLLOWING, lanes=1, stage={"pools": ("prefork",), "settings": SIZES}),
    # Whatever came back by its lease would be late enough to be seen.
    Plan(ENDING, lanes=1, stage={"settings": SIZES | {"WORKER_LEASE_SECONDS": "30"}}),
)


@pytest.mark.parametrize("scenario", [*FOLLOWING, *ENDING])
def test_given_load_that_comes_and_goes_then_workers_follow_and_nothing_is_lost(
    programme: Programme, scenario: str
) -> None:
    programme.outcome(scenario)
