"""The fault tests over RabbitMQ quorum queues, with the token cache on Valkey, where RabbitMQ is installed."""

from __future__ import annotations

from random import Random

import pytest
from amqp import Connection
from amqp.basic_message import Message

from tests.support.faults.catalog import Fault, api, broker, database, workers
from tests.support.faults.lanes import Plan, Programme
from tests.support.faults.mix import Mix
from tests.support.faults.rabbitmq import installed, queue_depth, require_rabbitmq
from tests.support.faults.reconnection import holding_a_message, reconnects
from tests.support.faults.scenarios import stopped_at, under
from tests.support.faults.stage import Stage
from tests.support.faults.stops import Stop
from tests.support.until import until

pytestmark = pytest.mark.rabbitmq


def by_name(faults: tuple[Fault, ...], *names: str) -> dict[str, Fault]:
    """Some of a catalog's faults."""
    return {fault.name: fault for fault in faults if fault.name in names}


FAULTS = {
    **by_name(broker.AMQP_FAULTS, "broker_away", "broker_connections_cut", "same_ids_many_times"),
    **by_name(workers.FAULTS, "kill_all_workers", "stop_whole_group"),
    **by_name(database.FAULTS, "ledger_connections_cut", "ledger_replies_lost"),
    **by_name(api.FAULTS, "api_reset_after", "tokens_revoked"),
}


def held_messages_come_back(stage: Stage) -> None:
    """Unacknowledged messages of a killed worker return to their queue; no sender has to send again."""
    for node in stage.nodes:
        node.kill("SIGSTOP")
    stage.send(30)
    for node in stage.nodes:
        node.kill("SIGCONT")
    until("messages are taken", stage.states, within=20)
    for node in stage.nodes:
        node.kill("SIGKILL")
    stage.revive()
    stage.settle()
    stage.require_invariant()
    stage.require_all_submitted()


def the_queue_holds_the_rest(stage: Stage) -> None:
    """A worker prefetches no more than it can process; the rest stays on the queue for others."""
    assert stage.rabbitmq is not None
    stage.witness.be_slow(1000)
    ids = stage.enqueue(1)
    stage.settle()
    for _ in range(40):
        stage.publish_ids(ids)
    ids = stage.enqueue(200)
    until("requests are under way", lambda: stage.states().get("submitting"), within=20)
    claimed = stage.states()["submitting"]
    slots = 2 * len(stage.nodes)
    assert claimed <= slots * 20, f"{claimed} jobs are claimed by {slots} slots"
    stage.witness.behave()
    stage.settle()
    until("the queue is empty", lambda: queue_depth(stage.rabbitmq, "cases.submit") == 0, within=20)


def unreadable_messages_are_kept(stage: Stage) -> None:
    """A message that can't be decoded becomes a dead letter and kills no worker."""
    assert stage.rabbitmq is not None
    pids = [node.pid for node in stage.nodes]
    before = stage.rows("SELECT count(*) FROM dead_letters WHERE reason = 'malformed_message'")[0][0]
    json_type = {"content_type": "application/json", "content_encoding": "utf-8"}
    task = {"task": "cases.accept", "id": "an-id"}
    messages = [
        Message(b"this is no message"),
        Message(b""),
        Message(b"\xff\xfe\x00", **json_type, application_headers=task),
        Message(b"{'single': 'quotes'}", **json_type, application_headers=task),
        Message(b"7", **json_type, application_headers=task),
        Message(b"[[], {}]", **json_type, application_headers=task),
        Message(b"[[], {}, {}]", **json_type, application_headers={}),
        Message(b"[[], {}, {}]", **json_type, application_headers={"task": "cases.accept"}),
        Message(b"[[], {}, {}]", **json_type, application_headers=task | {"task": "cases.destroy"}),
        Message(b"[[], {}, {}]", **json_type, application_headers=task | {"eta": "tomorrow"}),
        Message(b"[[], {}, {}]", **json_type, application_headers=task | {"expires": "2020-01-01T00:00:00"}),
        Message(b"[[], {}, {}]", **json_type, application_headers=task | {"timelimit": "soon"}),
        Message(b"[[], {}, {}]", **json_type, application_headers=task | {"compression": "klingon"}),
        Message(b"[[], {}, {}]", content_type="application/x-python-serialize", application_headers=task),
        Message(b"[[], {}, {}]", content_type="text/klingon", application_headers=task),
        Message(b"[[], {}, {}]", **json_type, application_headers=task),
    ]
    # With confirms, like every sender that cares: a channel that is closed without them may drop what it had accepted.
    sender = Connection(f"127.0.0.1:{stage.rabbitmq.port}", confirm_publish=True)
    with sender as connection, connection.channel() as channel:
        for message in messages:
            channel.basic_publish(message, routing_key="cases.intake")
    stage.send(4)

    def kept() -> int:
        return int(stage.rows("SELECT count(*) FROM dead_letters WHERE reason = 'malformed_message'")[0][0]) - before

    until(
        f"{len(messages)} messages are kept",
        lambda: kept() == len(messages),
        within=20,
        but=lambda: f"{kept()} are kept; {stage.trouble()}",
    )
    stage.settle()
    assert [node.pid for node in stage.nodes] == pids
    stage.require_invariant()


def a_mix(stage: Stage) -> None:
    """Several faults at once, by a fixed seed."""
    Mix(
        stage,
        Random(6),
        [fault for fault in FAULTS.values() if fault.target != "workers" and fault.name != "broker_away"],
    ).run(jobs=120, strikes=5)


SCENARIOS = {
    **{f"amqp: {name}": under(fault) for name, fault in FAULTS.items()},
    "amqp: a child dies at accept_uncommitted": stopped_at("accept_uncommitted", Stop("kill_child"), senders=True),
    "amqp: a worker dies at accept_committed": stopped_at("accept_committed", Stop("kill_worker"), senders=True),
    "amqp: the dispatcher dies at before_publish": stopped_at("before_publish", Stop("kill_worker")),
    "amqp: held messages come back": held_messages_come_back,
    "amqp: the queue holds the rest": the_queue_holds_the_rest,
    "amqp: unreadable messages are kept": unreadable_messages_are_kept,
    "amqp: a worker reconnects, holding a message": reconnects(holding_a_message),
    "amqp: a mix of faults": a_mix,
}


PLANS = (Plan(SCENARIOS, lanes=1, stage={"over_amqp": True}, possible=installed),)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_given_rabbitmq_when_a_fault_strikes_then_nothing_is_lost_or_doubled(
    programme: Programme, scenario: str
) -> None:
    require_rabbitmq()
    programme.outcome(scenario)
