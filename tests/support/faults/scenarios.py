"""Scenarios: work, a fault during it, then the invariant."""

from __future__ import annotations

import os
import signal
from collections import Counter
from random import Random

from tests.support.faults.catalog import Fault, Strike
from tests.support.faults.lanes import Scenario
from tests.support.faults.stage import Stage
from tests.support.faults.stops import Stop
from tests.support.faults.traffic import Traffic
from tests.support.until import until

#: Where the token is minted: there it takes tenants that nobody has a token for yet.
MINT_POINTS = ("before_mint", "minted")


def under(fault: Fault, *, reported: str | None = None) -> Scenario:
    """Work keeps coming, the fault happens, more work comes; then everything is settled and the invariant holds.

    `reported`: a word that the workers must have said meanwhile.
    """

    def scenario(stage: Stage) -> None:
        said = {node: len(node.said()) for node in stage.nodes}
        stage.witness.behave()
        stage.witness.let_revoked_tokens_go()
        with Traffic(stage):
            stage.enqueue(30)
            fault.happen(Strike(stage, Random(fault.name), alone=True))
            stage.enqueue(10)
        _end_well(stage, broker_forgot=fault.broker_forgets)
        if reported:
            news = "".join(node.said()[begin:] for node, begin in said.items())
            assert reported in news, f"no worker said {reported}:\n{news[-2000:]}"

    return scenario


def stopped_at(point: str, stop: Stop, *, senders: bool = False, refused: bool = False) -> Scenario:
    """A process is stopped for good at exactly that point, in the middle of work.

    With `senders`, cases come through the broker as well; with `refused`, every job meets a 401 first.
    """

    def scenario(stage: Stage) -> None:
        if refused:
            stage.enqueue(8)
            stage.settle()
            stage.witness.let_revoked_tokens_go()
            stage.witness.revoke_tokens()
        stage.stops.arm(point, stop)
        if senders:
            stage.send(10)
        stage.enqueue(30, prefix=_prefix(stop.action, point))
        stage.stops.wait_for(point)
        if stop.action == "kill_worker":
            stage.wait_for_a_death()
        stage.revive()
        _end_well(stage)

    return scenario


def _prefix(action: str, point: str) -> str:
    """Tenants without a token on this stage, for points that only a mint reaches."""
    return f"{action}-{point}".replace("_", "-") if point in MINT_POINTS else "tenant"


def all_die_at(point: str) -> Scenario:
    """One worker stops at exactly that point, and then the whole fleet is killed."""

    def scenario(stage: Stage) -> None:
        stage.stops.arm(point, Stop("freeze_worker"))
        stage.enqueue(30, prefix=_prefix("kill_all", point))
        stage.stops.wait_for(point)
        for node in stage.nodes:
            node.kill("SIGKILL")
        stage.revive()
        _end_well(stage)

    return scenario


def frozen_at(point: str, action: str) -> Scenario:
    """A process freezes at that point beyond its lease, another one sends its jobs, then the first one goes on."""

    def scenario(stage: Stage) -> None:
        stage.stops.arm(point, Stop(action))
        stage.enqueue(30)
        pid = stage.stops.wait_for(point)
        held = stage.rows(
            "SELECT lease_token, submission_key::text FROM jobs WHERE state = 'submitting' AND lease_owner LIKE %s",
            f"%:{pid}",
        )
        until(
            "its jobs are taken back",
            lambda: (
                not stage.rows("SELECT 1 FROM jobs WHERE lease_token = ANY(%s) LIMIT 1", [token for token, _ in held])
            ),
            within=stage.lease + 10,
            but=stage.trouble,
        )
        stage.settle()
        (os.killpg if action == "freeze_worker" else os.kill)(
            os.getpgid(pid) if action == "freeze_worker" else pid, signal.SIGCONT
        )
        # It goes on where it stood: two workers have sent, and the witness must see no second case.
        until("a job was sent by both", lambda: _sent_twice(stage, {key for _, key in held}), within=10)
        stage.enqueue(10)
        _end_well(stage)

    return scenario


def _sent_twice(stage: Stage, keys: set[str]) -> bool:
    sent = Counter(post["idempotencyKey"] for post in stage.witness.posts())
    return any(sent[key] > 1 for key in keys)


def _end_well(stage: Stage, *, broker_forgot: bool = False) -> None:
    stage.settle(broker_forgot=broker_forgot)
    stage.require_invariant()
    stage.require_all_submitted()
