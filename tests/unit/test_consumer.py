"""The worker's consumer."""

from __future__ import annotations

from types import SimpleNamespace

from worker.queue.app import make_app
from worker.queue.consumer import make_consumer
from worker.settings import Settings


def test_it_sends_no_events_over_which_it_would_hang_with_a_silent_broker() -> None:
    app = make_app(Settings.from_environment({"REDIS_URL": "redis://127.0.0.1:1/0"}))
    consumer = make_consumer("postgresql+psycopg://nowhere/x")(
        lambda _request: None,
        app=app,
        pool=SimpleNamespace(is_green=False),
        hub=object(),
        controller=SimpleNamespace(use_eventloop=True),
        worker_options={"without_gossip": True, "task_events": False},
    )
    steps = {type(step).__name__ for step in consumer.steps}

    assert "Tasks" in steps
    assert not steps & {"Heart", "Events"}
    app.close()
