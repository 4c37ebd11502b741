"""The cluster as pytest-celery sees it: the same scenarios against worker processes and, with an engine, containers.

These workers run the plain application with its own two minutes until a killed worker's message comes back; so what is
sent through the broker is not part of the scenarios that kill one (it is in test_stop_points.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery
from pytest_celery import CeleryBrokerCluster, CeleryTestSetup, CeleryWorkerCluster

from tests.support.faults.container_worker import ContainerWorker, why_no_engine
from tests.support.faults.deployments import Deployments
from tests.support.faults.stage import Stage
from tests.support.faults.worker_node import PLAIN_APP
from tests.support.until import until


@pytest.fixture(scope="module", params=["processes", pytest.param("containers", marks=pytest.mark.docker)])
def stage(request: pytest.FixtureRequest, deployments: Deployments) -> Iterator[Stage]:
    """Two workers, as processes or as containers."""
    options = {}
    if request.param == "containers":
        if missing := why_no_engine():
            pytest.skip(missing)
        options["make_worker"] = ContainerWorker
    with deployments.open(app=PLAIN_APP, **options) as running:
        yield running


@pytest.fixture
def celery_broker_cluster(stage: Stage) -> CeleryBrokerCluster:
    return stage.brokers


@pytest.fixture
def celery_backend_cluster() -> None:
    """No result backend: the ledger holds the results."""


@pytest.fixture
def celery_worker_cluster(stage: Stage) -> CeleryWorkerCluster:
    stage.revive()
    return stage.workers


@pytest.fixture
def celery_setup_app(stage: Stage) -> Celery:
    return stage.client


def busy(stage: Stage) -> None:
    """Enqueue more than can be done at once, and wait until some of it is under way."""
    stage.witness.be_slow(300)
    stage.enqueue(80)
    until("requests are under way", lambda: stage.states().get("submitting"), within=20, but=stage.trouble)


def ends_well(stage: Stage) -> None:
    stage.witness.behave()
    stage.settle()
    stage.require_invariant()
    stage.require_all_submitted()


def test_given_a_busy_cluster_when_a_worker_is_killed_then_the_other_does_its_work(
    celery_setup: CeleryTestSetup, stage: Stage
) -> None:
    busy(stage)
    celery_setup.worker.kill()
    ends_well(stage)


def test_given_a_busy_cluster_when_a_worker_is_stopped_and_started_then_nothing_is_lost(
    celery_setup: CeleryTestSetup, stage: Stage
) -> None:
    busy(stage)
    stage.send(4)
    celery_setup.worker.kill("SIGTERM")
    celery_setup.worker.wait_for_log("worker_stopping", timeout=20)
    celery_setup.worker.container.wait(10)
    celery_setup.worker.restart()
    ends_well(stage)


def test_given_a_busy_cluster_when_all_workers_are_killed_then_the_next_ones_do_their_work(
    celery_setup: CeleryTestSetup, stage: Stage
) -> None:
    busy(stage)
    for worker in celery_setup.worker_cluster:
        worker.kill()
    for worker in celery_setup.worker_cluster:
        worker.restart()
    ends_well(stage)


def test_given_a_busy_cluster_when_the_broker_is_killed_and_started_then_no_worker_needs_a_restart(
    celery_setup: CeleryTestSetup, stage: Stage
) -> None:
    before = [worker.container.id for worker in celery_setup.worker_cluster]
    stage.enqueue(40)
    celery_setup.broker.kill()
    stage.enqueue(40)
    celery_setup.broker.restart()
    ends_well(stage)
    assert [worker.container.id for worker in celery_setup.worker_cluster] == before
    assert all(worker.container.status == "running" for worker in celery_setup.worker_cluster)
