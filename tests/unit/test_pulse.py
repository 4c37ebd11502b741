"""Worker liveness: whose heartbeats are expected when, and what their absence means."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.process import shutdown
from worker.process.liveness import Liveness


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alive"


@pytest.fixture
def pulse(file: Path, clock: Clock) -> Liveness:
    pulse = Liveness(str(file), stale_after=60, clock=clock)
    pulse.begin()
    return pulse


@pytest.fixture
def living_thread() -> Iterator[threading.Thread]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(60,))
    thread.start()
    yield thread
    end.set()
    thread.join()


def is_touched(pulse: Liveness, file: Path) -> bool:
    file.touch()
    os.utime(file, (1, 1))
    pulse.consumer_heartbeat()
    return file.stat().st_mtime > 1


def test_a_worker_that_begins_lives_before_it_has_a_dispatcher(pulse: Liveness, file: Path) -> None:
    assert pulse.problems() == []
    assert not file.exists(), "nothing has come round yet"
    assert is_touched(pulse, file)


def test_before_a_worker_has_begun_its_liveness_is_unknown() -> None:
    assert Liveness("", stale_after=60).problems() == ["the worker has not started yet"]


def test_a_consumer_that_does_not_come_round_is_told_of(pulse: Liveness, clock: Clock) -> None:
    clock.now += 61
    assert pulse.problems() == ["no heartbeat of the consumer for 61 s"]
    pulse.consumer_heartbeat()
    assert pulse.problems() == []


def test_a_dispatcher_that_does_not_come_round_keeps_the_file_from_being_touched(
    pulse: Liveness, file: Path, clock: Clock, living_thread: threading.Thread
) -> None:
    pulse.watch(living_thread)
    assert is_touched(pulse, file)
    clock.now += 61
    assert not is_touched(pulse, file)
    assert pulse.problems() == ["no heartbeat of the dispatcher for 61 s"]
    pulse.dispatcher_heartbeat()
    assert is_touched(pulse, file)


def test_a_dispatcher_whose_thread_has_ended_is_told_of_at_once(pulse: Liveness, file: Path) -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    pulse.watch(thread)
    thread.join()
    assert pulse.problems() == ["the dispatcher's thread has ended"]
    assert not is_touched(pulse, file)


def test_a_worker_that_stops_may_fall_silent(pulse: Liveness, clock: Clock) -> None:
    clock.now += 3600
    shutdown.request_for_all()
    try:
        assert pulse.problems() == []
    finally:
        shutdown.reset()


def test_whoever_ends_leaves_no_file(pulse: Liveness, file: Path) -> None:
    pulse.consumer_heartbeat()
    assert file.exists()
    pulse.end()
    assert not file.exists()


def test_a_file_that_cannot_be_written_ends_the_process_with_its_setting_s_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^WORKER_LIVENESS_FILE should name a writable file: No such"):
        Liveness(str(tmp_path / "nowhere" / "alive"), stale_after=60).begin()


def test_a_file_that_can_no_longer_be_written_does_not_harm_the_consumer(pulse: Liveness, file: Path) -> None:
    file.parent.rmdir()
    pulse.consumer_heartbeat()
    assert pulse.problems() == []
