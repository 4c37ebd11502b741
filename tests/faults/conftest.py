"""Servers that a test may kill, unlike the session's shared ones, and the programme of scenarios."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from local_servers import LocalPostgres

from tests.support.faults.deployments import Deployments
from tests.support.faults.lanes import Programme
from tests.support.faults.stage import prepare_ledger


@pytest.fixture(scope="session")
def breakable_postgres() -> Iterator[LocalPostgres]:
    """A durable PostgreSQL: commits survive a kill."""
    with LocalPostgres(durable=True) as server:
        prepare_ledger(server)
        yield server


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory, breakable_postgres: LocalPostgres) -> Deployments:
    return Deployments(tmp_path_factory.mktemp("stages"), breakable_postgres)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An order that keeps both processors busy.

    The programme's scenarios run beside the other tests: the first is asked for first, which begins them all, and how
    the others ended is looked at last. Tests that would have to share a processor with them come when they are through.
    """

    def turn(item: pytest.Item) -> int:
        if "programme" in getattr(item, "fixturenames", ()):
            return 2
        return int(item.path.parent.name in {"faults", "browser"})

    items.sort(key=turn)
    scenarios = [item for item in items if turn(item) == 2]
    items[:] = [*scenarios[:1], *(item for item in items if turn(item) < 2), *scenarios[1:]]


@pytest.fixture(scope="session")
def programme(request: pytest.FixtureRequest, deployments: Deployments) -> Iterator[Programme]:
    """All selected scenarios, running in parallel from now on."""
    running = Programme(deployments.open)
    wanted: dict[object, list[str]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and "programme" in item.fixturenames:
            wanted.setdefault(item.module, []).append(item.callspec.params.get("scenario", ""))
    for module, names in wanted.items():
        for plan in module.PLANS:  # type: ignore[attr-defined]  # a module that asks for the programme has them
            if plan.possible():
                running.begin(plan, names)
    yield running
    running.end()
