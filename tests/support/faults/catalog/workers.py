"""Workers that die, stop and freeze."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil

from tests.support.faults.catalog import Fault, Strike
from tests.support.faults.worker_node import WorkerNode

#: Seconds within which a worker that was told to stop has ended.
STOPS_WITHIN = 10.0


def _one(strike: Strike) -> WorkerNode:
    return strike.dice.choice([node for node in strike.stage.nodes if node.status == "running"])


def kill_child(strike: Strike) -> None:
    """SIGKILL one prefork child."""
    children = [child for node in strike.stage.nodes for child in node.children()]
    if children:
        with contextlib.suppress(psutil.NoSuchProcess):
            strike.dice.choice(children).kill()


def kill_worker(strike: Strike) -> None:
    """SIGKILL a worker with its children; a process manager starts another."""
    _one(strike).kill("SIGKILL")
    strike.stage.revive()


def kill_all_workers(strike: Strike) -> None:
    """SIGKILL the whole fleet."""
    for node in strike.stage.nodes:
        node.kill("SIGKILL")
    strike.stage.revive()


def stop_worker(strike: Strike) -> None:
    """SIGTERM to a worker's parent, as Celery's documentation has it."""
    _stop(strike, _one(strike), group=False)


def stop_whole_group(strike: Strike) -> None:
    """SIGTERM to a worker's parent and children at once, as systemd and docker stop do it."""
    _stop(strike, _one(strike), group=True)


def _stop(strike: Strike, node: WorkerNode, *, group: bool) -> None:
    began = time.monotonic()
    if group:
        os.killpg(node.pid, signal.SIGTERM)
    else:
        node.kill("SIGTERM")
    node.wait(STOPS_WITHIN + 20)
    seconds = time.monotonic() - began
    assert seconds < STOPS_WITHIN, f"{node.name} took {seconds:.1f} s to stop:\n{node.said()[-2000:]}"
    strike.stage.revive()


def freeze_worker(strike: Strike) -> None:
    """SIGSTOP a worker beyond its lease, then let it go on."""
    node = _one(strike)
    node.kill("SIGSTOP")
    time.sleep(strike.stage.lease * 1.3)
    node.kill("SIGCONT")


def freeze_child(strike: Strike) -> None:
    """SIGSTOP one child beyond its lease, while its parent and neighbours go on."""
    children = [child for node in strike.stage.nodes for child in node.children()]
    if children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child = strike.dice.choice(children)
            child.suspend()
            time.sleep(strike.stage.lease * 1.3)
            child.resume()


FAULTS = (
    Fault("kill_child", "workers", kill_child),
    Fault("kill_worker", "workers", kill_worker),
    Fault("kill_all_workers", "workers", kill_all_workers),
    Fault("stop_worker", "workers", stop_worker),
    Fault("stop_whole_group", "workers", stop_whole_group),
    Fault("freeze_worker", "workers", freeze_worker),
    Fault("freeze_child", "workers", freeze_child),
)
