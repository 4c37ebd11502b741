"""While the broker takes no messages, it is reported as the reason why jobs wait."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import run
from tests.support.pipeline import Pipeline
from tests.support.publisher import Recorder
from tests.support.web_visitor import Visitor, report
from worker.dispatch.dispatcher import Dispatcher, NotPublished
from worker.ledger.database import transaction
from worker.ledger.queries.waiting import fleet_waits
from worker.policy.rate_limit import Pace
from worker.report.waiting import describe_fleet

AWAY = "The broker accepts no messages since"


@pytest.fixture
def published() -> Recorder:
    return Recorder()


def words(pipeline: Pipeline) -> list[str]:
    with transaction(pipeline.engine) as connection:
        return describe_fleet(fleet_waits(connection, Pace.parse("600/minute")))


def fail(pipeline: Pipeline, published: Recorder, *, by: str) -> object:
    """Let a dispatcher fail to publish. Returns the recorded start of the outage."""
    published.failing = {published.calls}
    with pytest.raises(NotPublished):
        Dispatcher(pipeline.settings, published, name=by).tick()
    return pipeline.ledger.value("SELECT unpublished_since FROM dispatcher")


def test_a_broker_outage_is_recorded_from_the_first_failure_until_a_message_is_published(
    pipeline: Pipeline, published: Recorder
) -> None:
    pipeline.enqueue()
    since = fail(pipeline, published, by="one")
    assert since is not None
    assert fail(pipeline, published, by="another") == since, "not since the last failure"
    assert words(pipeline)[0].startswith(AWAY)
    assert not any("Not paused" in reason for reason in words(pipeline))
    assert "one that cannot publish gives up its lead" in words(pipeline)[1]

    assert Dispatcher(pipeline.settings, published, name="one").tick() == 1

    assert pipeline.ledger.value("SELECT unpublished_since FROM dispatcher") is None
    assert not any(AWAY in reason for reason in words(pipeline))


def test_status_show_and_both_reports_name_a_broker_outage(
    pipeline: Pipeline, published: Recorder, variables: dict[str, str]
) -> None:
    job = pipeline.enqueue()
    fail(pipeline, published, by="one")

    status = json.loads(run(variables, "status", "--json").stdout)
    page = Visitor(report(pipeline.ledger, variables)).get("/").text

    assert status["broker"]["unpublished_since"]
    assert any(AWAY in reason for reason in status["waits_for"])
    assert "Broker unavailable" in page
    for text in (page, *(run(variables, *command).stdout for command in (("status",), ("show", job), ("report",)))):
        assert AWAY in " ".join(text.split())


def test_the_dispatcher_row_is_not_written_while_the_broker_takes_messages(
    pipeline: Pipeline, published: Recorder
) -> None:
    pipeline.enqueue()
    before = pipeline.ledger.value("SELECT xmin FROM dispatcher")
    Dispatcher(pipeline.settings, published, name="one").tick()

    assert pipeline.ledger.value("SELECT xmin FROM dispatcher") == before
