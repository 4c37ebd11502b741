"""The dispatcher, tick by tick, with a publisher that only records."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from tests.support.pipeline import Pipeline
from tests.support.publisher import Recorder
from tests.support.rows import ago, change_jobs, from_now, let_holds_lapse, set_hold, set_leader
from tests.support.sandbox_witness import Witness
from worker.dispatch import dispatcher as module
from worker.dispatch.dispatcher import Dispatcher, NotPublished
from worker.ledger.writer import release as ledger_release
from worker.ledger.writer.holds import HoldName
from worker.policy.rate_limit import Pace


@pytest.fixture
def published() -> Recorder:
    return Recorder()


@pytest.fixture
def new_dispatcher(pipeline: Pipeline, published: Recorder) -> Callable[..., Dispatcher]:
    return lambda name="one", publisher=published: Dispatcher(pipeline.settings, publisher, name=name)


@pytest.fixture
def dispatcher(new_dispatcher: Callable[..., Dispatcher]) -> Dispatcher:
    return new_dispatcher()


@contextmanager
def running(dispatcher: Dispatcher) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=dispatcher.run, kwargs={"stopped": lambda: False}, daemon=True)
    thread.start()
    yield thread
    dispatcher.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_an_idle_system_sends_a_single_id_at_once(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder
) -> None:
    job_id = pipeline.enqueue()

    assert dispatcher.tick() == 1
    assert published.messages == [[job_id]]
    assert pipeline.job(job_id)["state"] == "queued"
    assert dispatcher.tick() == 0


def test_a_backlog_goes_out_in_batches_of_at_most_twenty_in_turn(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder
) -> None:
    jobs = [pipeline.enqueue(f"tenant-{n}") for n in range(45)]

    assert dispatcher.tick() == 45
    assert published.ids == jobs
    assert max(len(message) for message in published.messages) == 20
    assert len(published.messages) <= 5


def test_a_job_that_a_worker_may_have_died_of_goes_in_a_message_of_its_own(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder
) -> None:
    unlucky = pipeline.enqueue()
    pipeline.claim(pipeline.release())
    pipeline.lapse()
    jobs = [pipeline.enqueue(f"tenant-{n}") for n in range(5)]

    dispatcher.tick()

    assert [unlucky] in published.messages
    assert sorted(published.ids) == sorted([unlucky, *jobs])


def test_the_window_bounds_what_is_on_the_queue(new_pipeline: Callable[..., Pipeline], published: Recorder) -> None:
    pipeline = new_pipeline(WORKER_BATCH="2")
    window = 2 + math.ceil(module.QUEUE_SECONDS / Pace.parse(pipeline.settings.rate_limits).interval)
    for n in range(window + 30):
        pipeline.enqueue(f"tenant-{n}")
    dispatcher = Dispatcher(pipeline.settings, published, name="one")

    assert dispatcher.tick() == window
    assert dispatcher.tick() == 0
    pipeline.claim(published.ids[:10])
    assert dispatcher.tick() == 10, "what a worker has claimed is on the queue no more"


def test_what_could_not_be_published_is_put_back_and_goes_out_again(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder
) -> None:
    jobs = [pipeline.enqueue(f"tenant-{n}") for n in range(45)]
    published.failing = {1}
    with pytest.raises(NotPublished):
        dispatcher.tick()

    assert {pipeline.job(job)["state"] for job in jobs} == {"pending"}
    assert published.closed >= 1, "the broken connection is let go"
    assert pipeline.run(published.messages[0]) == 0, "a message that went out all the same finds nothing to claim"
    assert dispatcher.tick() == 45
    assert {pipeline.job(job)["state"] for job in jobs} == {"queued"}


def test_a_job_that_was_claimed_before_publishing_failed_is_not_taken_back(
    pipeline: Pipeline, new_dispatcher: Callable[..., Dispatcher]
) -> None:
    class Quick(Recorder):
        def publish(self, job_ids: Sequence[UUID]) -> None:
            pipeline.claim(job_ids)
            raise ConnectionResetError("sent, and the answer was lost")

    job_id = pipeline.enqueue()
    with pytest.raises(NotPublished):
        new_dispatcher(publisher=Quick()).tick()

    assert pipeline.job(job_id)["state"] == "submitting"


def test_an_id_whose_message_was_lost_goes_out_again(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder
) -> None:
    job_id = pipeline.enqueue()
    pipeline.release()
    dispatcher.tick()
    assert published.messages == []
    change_jobs(pipeline.ledger, queued_at=ago("61 s"))
    dispatcher._sweep_at = 0.0  # a second later

    dispatcher.tick()

    assert published.messages == [[job_id]]


def test_a_job_whose_worker_died_goes_out_again(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder
) -> None:
    job_id = pipeline.enqueue()
    pipeline.claim(pipeline.release())
    change_jobs(pipeline.ledger, lease_until=ago("1 s"))

    dispatcher.tick()

    assert published.messages == [[job_id]]
    assert [a["outcome"] for a in pipeline.attempts(job_id)] == ["unknown"]


@pytest.mark.parametrize("name", [HoldName.RATE_LIMIT, HoldName.MINT_RATE_LIMIT, HoldName.API_KEY])
def test_a_hold_stops_the_release_until_it_is_over(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder, name: HoldName
) -> None:
    pipeline.enqueue()
    set_hold(pipeline.ledger, name, 60)
    assert dispatcher.tick() == 0

    let_holds_lapse(pipeline.ledger)
    assert dispatcher.tick() == 1


def test_one_hold_that_is_over_does_not_end_another(pipeline: Pipeline, dispatcher: Dispatcher) -> None:
    pipeline.enqueue()
    set_hold(pipeline.ledger, HoldName.RATE_LIMIT, -1)
    set_hold(pipeline.ledger, HoldName.MINT_RATE_LIMIT, 60)

    assert dispatcher.tick() == 0


def test_after_a_refused_api_key_jobs_go_out_one_at_a_time_until_a_mint_works(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder, sandbox: Witness
) -> None:
    jobs = [pipeline.enqueue(f"tenant-{n}") for n in range(10)]
    sandbox.control("api-key", accepted=False)
    for _ in range(3):
        set_hold(pipeline.ledger, HoldName.API_KEY, 60)
        assert dispatcher.tick() == 0
        let_holds_lapse(pipeline.ledger)
        assert dispatcher.tick() == 1
        assert dispatcher.tick() == 0, "nothing more before the first one's answer"
        pipeline.run(published.messages[-1])
        assert set(pipeline.holds()) == {"api_key"}

    sandbox.control("api-key", accepted=True)
    let_holds_lapse(pipeline.ledger)
    assert dispatcher.tick() == 1
    pipeline.run(published.messages[-1])
    assert pipeline.holds() == {}
    assert dispatcher.tick() == 9
    pipeline.run(published.ids[-9:])
    assert {pipeline.job(job)["state"] for job in jobs} == {"submitted"}


def test_two_dispatchers_at_once_publish_each_job_once(
    new_pipeline: Callable[..., Pipeline], published: Recorder
) -> None:
    pipeline = new_pipeline(WORKER_RATE_LIMITS="100000/minute")  # room for all of them on the queue
    jobs = [pipeline.enqueue(f"tenant-{n}") for n in range(100)]
    both = [Dispatcher(pipeline.settings, published, name=name) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda d: [d.tick() for _ in range(3)], both))
    while both[0].tick():  # what one had looked at while the other released has its turn now
        pass

    assert sorted(published.ids) == sorted(jobs)


def test_only_one_of_two_dispatchers_leads(pipeline: Pipeline, new_dispatcher: Callable[..., Dispatcher]) -> None:
    one, two = new_dispatcher("one"), new_dispatcher("two")

    assert (one._leads(), two._leads(), one._leads()) == (True, False, True)
    assert pipeline.ledger.value("SELECT leader FROM dispatcher") == "one"


def test_another_dispatcher_takes_over_within_three_seconds_of_the_leader_s_death(
    pipeline: Pipeline, new_dispatcher: Callable[..., Dispatcher], published: Recorder
) -> None:
    assert new_dispatcher("the one that dies")._leads()
    died = time.monotonic()
    job_id = pipeline.enqueue()
    with running(new_dispatcher("two")):
        assert published.something.wait(10)
        took = time.monotonic() - died

    assert published.messages == [[job_id]]
    assert 1.5 < took < 4, "not before the lease is over, and soon after"


def test_a_leader_that_died_before_the_clock_was_set_back_is_followed_all_the_same(
    pipeline: Pipeline, new_dispatcher: Callable[..., Dispatcher]
) -> None:
    set_leader(pipeline.ledger, "dead", until=from_now("3 hours"))

    assert new_dispatcher("two")._leads()


def test_a_leader_that_stops_makes_room_at_once(
    pipeline: Pipeline, new_dispatcher: Callable[..., Dispatcher], published: Recorder
) -> None:
    one = new_dispatcher("one")
    pipeline.enqueue()
    with running(one):
        assert published.something.wait(10)
        assert pipeline.ledger.value("SELECT leader FROM dispatcher") == "one"

    assert pipeline.ledger.value("SELECT leader FROM dispatcher") is None
    assert new_dispatcher("two")._leads()


def test_a_leader_that_does_not_reach_the_broker_leaves_it_to_another(
    pipeline: Pipeline,
    new_dispatcher: Callable[..., Dispatcher],
    published: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "FOLLOW_EVERY", 0.1)
    cut_off = Recorder()
    cut_off.failing = set(range(1000))
    one = new_dispatcher("one", cut_off)
    assert one._leads()
    job_id = pipeline.enqueue()
    with running(one), running(new_dispatcher("two")):
        assert published.something.wait(10)

    assert published.messages == [[job_id]]
    assert cut_off.calls >= 1
    said = capsys.readouterr().out
    assert "publish_failed" in said
    assert "Traceback" not in said, "a broker that is away is one line each time, and no bug"


@pytest.mark.parametrize("trouble", [OperationalError("SELECT 1", {}, OSError("gone")), KeyError("a bug")], ids=repr)
def test_the_dispatcher_goes_on_after_an_error(
    pipeline: Pipeline, dispatcher: Dispatcher, published: Recorder, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(module, "REST", 0.02)
    original, failed = ledger_release.wake_due, threading.Event()

    def sometimes(connection: object) -> int:
        if not failed.is_set():
            failed.set()
            raise trouble
        return original(connection)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger_release, "wake_due", sometimes)
    pipeline.enqueue()
    with running(dispatcher):
        assert published.something.wait(10)

    assert failed.is_set()
