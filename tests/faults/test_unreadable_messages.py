"""Each unreadable message is stored for a person, and the worker goes on."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.faults.deployments import Deployments
from tests.support.faults.stage import Stage
from tests.support.faults.unreadable_messages import envelope, good, unreadable, unreadable_submits
from tests.support.until import until

MESSAGES = {
    **{("cases.intake", name): raw for name, raw in unreadable().items()},
    **{("cases.submit", name): raw for name, raw in unreadable_submits().items()},
}


@pytest.fixture(scope="module", params=["prefork", "threads"])
def stage(request: pytest.FixtureRequest, deployments: Deployments) -> Iterator[Stage]:
    with deployments.open(pools=(request.param,), app="worker") as running:
        yield running


def letters(stage: Stage) -> list[dict[str, Any]]:
    """What was kept."""
    return [
        row[0]
        for row in stage.rows(
            "SELECT detail FROM dead_letters WHERE job_id IS NULL AND reason = 'malformed_message' ORDER BY id"
        )
    ]


@pytest.mark.parametrize(("queue", "name"), MESSAGES)
def test_given_an_unreadable_message_when_it_comes_then_it_is_kept_and_the_worker_goes_on(
    stage: Stage, queue: str, name: str
) -> None:
    worker = stage.nodes[0]
    before, pid = len(letters(stage)), worker.pid
    raw = MESSAGES[queue, name]
    client = stage.valkey.client()
    client.lpush(queue, raw)
    client.lpush("cases.intake", envelope(good(f"after {name}")))
    client.close()

    until("the good message becomes a job", lambda: taken(stage, f"after {name}"), within=20, but=worker.said)
    kept = until("the bad message is kept", lambda: letters(stage)[before:], within=20, but=worker.said)
    assert len(kept) == 1
    assert kept[0]["message"], "it says why"
    assert kept[0]["queue"] == queue
    assert shows(kept[0]["sent"], raw), f"what was sent is kept: {kept[0]['sent'][:300]}"
    assert (worker.status, worker.pid) == ("running", pid)
    assert taken(stage, "never-taken") == 0


def taken(stage: Stage, key: str) -> int:
    """How many jobs have that key."""
    return int(stage.rows("SELECT count(*) FROM jobs WHERE idempotency_key = %s", key)[0][0])


def shows(sent: str, raw: bytes) -> bool:
    """Whether the kept text shows the entry itself, its envelope, or, of a task that had begun, its arguments."""
    if sent == raw.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}"):
        return True
    kept, entry = json.loads(sent), json.loads(raw)
    if "args" in kept:
        args, kwargs, _embed = json.loads(base64.b64decode(entry["body"]))
        return as_kept(kept["args"]) == args and as_kept(kept["kwargs"]) == as_kept(kwargs)
    return bool(kept["body"] == entry["body"] and kept["headers"] == entry["headers"])


def as_kept(value: Any) -> Any:
    """As the ledger keeps text: without NUL, which PostgreSQL does not take."""
    return json.loads(json.dumps(value).replace("\\u0000", "\N{REPLACEMENT CHARACTER}"))
