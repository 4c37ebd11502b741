"""Metrics and liveness of real worker processes."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest

from tests.support.faults.lanes import Plan, Programme
from tests.support.faults.stage import Stage
from tests.support.faults.stops import Stop
from tests.support.faults.watched_node import PatientNode, WatchedNode
from tests.support.until import until

SUBMITTED = 'case_worker_submissions_total{outcome="submitted"}'


def watched(stage: Stage) -> WatchedNode:
    (node,) = stage.nodes
    assert isinstance(node, WatchedNode)
    return node


def children_count_together(stage: Stage) -> None:
    """Each child counts separately, the main process shows the sum, and a killed child's numbers are kept."""
    node = watched(stage)
    stage.enqueue(30)
    stage.settle()
    shown = until("all is counted", lambda: _submitted(node, 30), within=20, but=stage.trouble)
    assert shown["case_worker_enqueue_to_submitted_seconds_count"] == 30
    # On a machine that is busy with other things, a job may be given out more than once.
    assert shown['case_worker_api_request_seconds_count{endpoint="POST /cases",status="200"}'] >= 30
    assert shown['case_worker_token_mints_total{result="minted"}'] >= 4, "one for each tenant"
    assert shown["case_worker_jobs_released_total"] >= 30
    assert shown["case_worker_dispatcher_tick_seconds_count"] > 0
    assert shown['case_worker_jobs{state="submitted"}'] == 30
    assert shown["case_worker_dispatcher_leads"] == 1
    assert "sender" not in node.ask("/metrics").text
    assert "tenant-" not in node.ask("/metrics").text
    files = _value_files(node)
    victims = node.children()
    for victim in victims:
        victim.kill()
    until("others have taken their places", lambda: _replaced(node, victims), within=20, but=node.said)
    stage.enqueue(30)
    stage.settle()
    until("the dead ones' numbers are still there", lambda: _submitted(node, 60), within=20, but=stage.trouble)
    assert _value_files(node) == files
    stage.require_invariant()


def threads_are_watched_too(stage: Stage) -> None:
    node = watched(stage)
    stage.enqueue(10)
    stage.settle()
    until("all is counted", lambda: _submitted(node, 10), within=20, but=stage.trouble)
    assert node.ask("/healthz").text == "ok\n"
    began = node.touched_at()
    until("its file is touched again and again", lambda: node.touched_at() > began + 1, within=20)
    stage.require_invariant()


def it_lives_while_its_broker_is_away(stage: Stage) -> None:
    node = watched(stage)
    stage.broker_proxy.refuse()
    gone = time.time()
    stage.enqueue(3)

    def has_waited_for_long() -> bool:
        """Longer than it may hang, and never has it looked as if it did."""
        assert node.ask("/healthz").text == "ok\n"
        return node.touched_at() > gone + node.stale_after + 1

    until("it has waited for longer than it may hang", has_waited_for_long, within=40)
    assert "publish_failed" in node.said(), "its dispatcher wanted to publish"
    stage.broker_proxy.heal()
    stage.settle()
    assert node.status == "running"
    stage.require_invariant()


def a_frozen_worker_goes_stale(stage: Stage) -> None:
    node = watched(stage)
    node.kill("SIGSTOP")
    until("its file is stale", node.is_stale, within=20)
    node.kill("SIGCONT")
    until("it lives again", lambda: not node.is_stale(), within=20)


def a_wedged_consumer_goes_stale(stage: Stage) -> None:
    """The main process hangs in a message while its other threads go on."""
    node = watched(stage)
    stage.stops.arm("message_taken", Stop("hang"))
    stage.send(1)
    stage.stops.wait_for("message_taken")
    until("its file is stale", node.is_stale, within=20)
    answer = until("it is called unhealthy", lambda: _unhealthy(node), within=20, but=node.said)
    assert answer.startswith("no heartbeat of the consumer for ")
    (left,) = _folders(node)
    node.kill()
    stage.revive()
    stage.settle()
    assert not node.is_stale()
    assert left not in _folders(node), "what a killed worker left behind is taken away by the next one"


def a_dead_dispatcher_goes_stale(stage: Stage) -> None:
    node = watched(stage)
    stage.stops.arm("before_publish", Stop("raise", error="SystemExit"))
    stage.enqueue(1)
    stage.stops.wait_for("before_publish")
    assert until("it is called unhealthy", lambda: _unhealthy(node), within=20) == "the dispatcher's thread has ended\n"
    until("its file is stale", node.is_stale, within=20)
    node.stop()
    assert _folders(node) == [], "a worker that ends takes its folder away"
    assert not node.file.exists()


def a_reloaded_worker_begins_anew(stage: Stage) -> None:
    """On SIGHUP Celery restarts the worker in the same process, so it inherits the old environment."""
    node = watched(stage)
    (before,) = _folders(node)
    node.kill("SIGHUP")
    until("it is ready again", lambda: node.said().count(node.ready_prompt) == 2, within=40, but=node.said)
    (after,) = _folders(node)
    assert after != before
    stage.enqueue(4)
    stage.settle()
    assert _value_files(node) >= {"counter_main.db", "histogram_main.db"}, "beside the others' folders, not in one"
    stage.require_invariant()


def _submitted(node: WatchedNode, number: int) -> dict[str, float] | None:
    shown = node.metrics()
    return shown if shown[SUBMITTED] == number else None


def _replaced(node: WatchedNode, victims: list[psutil.Process]) -> bool:
    children = {child.pid for child in node.children()}
    return len(children) == len(victims) and not children & {victim.pid for victim in victims}


def _folders(node: WatchedNode) -> list[str]:
    return [folder.name for folder in node.values_folder.iterdir()]


def _value_files(node: WatchedNode) -> set[str]:
    (folder,) = node.values_folder.iterdir()
    return {file.name for file in folder.glob("*.db")}


def _unhealthy(node: WatchedNode) -> str:
    answer = node.ask("/healthz")
    return answer.text if answer.status_code == 503 else ""


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    "children count together": children_count_together,
    "a frozen worker goes stale": a_frozen_worker_goes_stale,
    "a wedged consumer goes stale": a_wedged_consumer_goes_stale,
    "a dead dispatcher goes stale": a_dead_dispatcher_goes_stale,
    "a reloaded worker starts again": a_reloaded_worker_begins_anew,
}
PATIENT: dict[str, Callable[[Stage], None]] = {
    "threads are watched too": threads_are_watched_too,
    "it lives while its broker is away": it_lives_while_its_broker_is_away,
}
PLANS = (
    Plan(PATIENT, lanes=1, stage={"pools": ("threads",), "make_worker": PatientNode}),
    Plan(SCENARIOS, lanes=1, stage={"pools": ("prefork",), "make_worker": WatchedNode}),
)


@pytest.mark.parametrize("scenario", [*PATIENT, *SCENARIOS])
def test_a_worker_shows_what_it_does_and_whether_it_lives(programme: Programme, scenario: str) -> None:
    programme.outcome(scenario)
