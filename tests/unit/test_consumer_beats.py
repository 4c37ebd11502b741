"""When the consumer says that it lives: in its loop, with or without Celery's event loop, and while it waits for its
broker."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.consumer import Consumer
from kombu import Connection
from local_servers import free_port

from worker.case.protection import UNPROTECTED
from worker.queue.app import make_app
from worker.queue.consumer import HEARTBEAT_SECONDS, make_consumer
from worker.settings import Settings


class Enough(Exception):
    """Celery's way of saying that the worker is to stop while it waits."""


@pytest.fixture
def beats() -> list[str]:
    return []


@pytest.fixture
def consumer(beats: list[str]) -> Any:
    """One that was never started."""
    consumer = object.__new__(
        make_consumer("postgresql+psycopg://nowhere/x", UNPROTECTED, lambda: beats.append("alive"))
    )
    consumer.hub = None
    consumer._pending_operations = deque()
    return consumer


def test_the_worker_sends_no_celery_events() -> None:
    app = make_app(Settings.from_environment({"REDIS_URL": "redis://127.0.0.1:1/0"}))
    pool = SimpleNamespace(is_green=False)
    consumer = make_consumer("postgresql+psycopg://nowhere/x", UNPROTECTED, lambda: None)(
        lambda _request: None,
        app=app,
        pool=pool,
        hub=object(),
        controller=SimpleNamespace(use_eventloop=True),
        worker_options={"without_gossip": True, "task_events": False},
    )
    steps = {type(step).__name__ for step in consumer.steps}
    assert "Tasks" in steps
    assert not steps & {"Heart", "Events"}
    app.close()


def test_in_the_event_loop_a_timer_beats(consumer: Any, beats: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Hub:
        timers: list[tuple[float, Any]] = []  # noqa: RUF012 - one hub

        def call_repeatedly(self, seconds: float, call: Any) -> None:
            self.timers.append((seconds, call))

    monkeypatch.setattr(Consumer, "register_with_event_loop", lambda *_: None)
    consumer.register_with_event_loop(hub := Hub())
    ((seconds, call),) = hub.timers
    call()
    assert (seconds, beats) == (HEARTBEAT_SECONDS, ["alive"])


def test_without_an_event_loop_each_round_beats(consumer: Any, beats: list[str]) -> None:
    consumer.perform_pending_operations()
    consumer.perform_pending_operations()
    assert beats == ["alive", "alive"]


def test_waiting_for_the_broker_beats_with_each_look(consumer: Any, beats: list[str]) -> None:
    def stop_at_the_second_look() -> None:
        if len(beats) > 2:
            raise Enough

    with Connection(f"redis://127.0.0.1:{free_port()}/0") as connection, pytest.raises(Enough):
        consumer._ensure_connection(
            connection.ensure_connection, lambda *_: None, None, callback=stop_at_the_second_look
        )
    assert len(beats) == 3
