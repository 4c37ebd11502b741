"""`enqueue_case` on real PostgreSQL: transactions, idempotency keys, refused input."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from tests.support.at_once import at_once
from tests.support.databases import Database
from tests.support.pipeline import Pipeline, a_case
from tests.support.sandbox_witness import Witness
from worker import EnqueuedJob, IdempotencyKeyReused, InvalidCase, enqueue_case
from worker.errors import SettingsError


@pytest.fixture(autouse=True)
def _database_url(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", ledger.url)


def count(ledger: Database) -> object:
    return ledger.value("SELECT count(*) FROM jobs")


def test_without_a_session_the_job_is_committed(ledger: Database) -> None:
    job = enqueue_case(external_tenant_id="acme", case=a_case(creditorReference="INV-1"))

    assert job.created
    (row,) = ledger.rows("SELECT id, state, priority, idempotency_key, creditor_reference, amount, currency FROM jobs")
    assert row == (job.id, "pending", 1, "ref:INV-1", "INV-1", Decimal("1250.5"), "DKK")


def test_a_job_s_id_is_a_time_ordered_uuid_and_its_submission_key_another_one(ledger: Database) -> None:
    ids = [enqueue_case(external_tenant_id="acme", case=a_case(comments=str(n))).id for n in range(3)]

    assert [i.version for i in ids] == [7, 7, 7]
    assert ids[0].int >> 80 <= ids[1].int >> 80 <= ids[2].int >> 80
    keys = {key for (key,) in ledger.rows("SELECT submission_key FROM jobs")}
    assert len(keys) == 3
    assert not keys & set(ids)


def test_in_the_caller_s_session_the_job_commits_with_it(ledger: Database) -> None:
    with Session(ledger.engine) as session:
        job = enqueue_case(external_tenant_id="acme", case=a_case(), session=session)
        assert count(ledger) == 0, "nothing is visible before the caller commits"
        session.commit()

    assert ledger.value("SELECT id FROM jobs") == job.id


def test_in_the_caller_s_session_the_job_is_rolled_back_with_it(ledger: Database) -> None:
    with Session(ledger.engine) as session:
        enqueue_case(external_tenant_id="acme", case=a_case(), session=session)
        session.rollback()
    assert count(ledger) == 0


def test_a_web_app_that_fails_after_enqueueing_takes_the_job_back(ledger: Database) -> None:
    def handle_request() -> None:
        with Session(ledger.engine) as session, session.begin():
            enqueue_case(external_tenant_id="acme", case=a_case(), session=session)
            raise RuntimeError("the web app fails after it")

    with pytest.raises(RuntimeError):
        handle_request()
    assert count(ledger) == 0


def test_the_caller_s_session_needs_no_settings_of_ours(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    own_engine = create_engine(ledger.url.replace("postgresql://", "postgresql+psycopg://"))
    with Session(own_engine) as session, session.begin():
        assert enqueue_case(external_tenant_id="acme", case=a_case(), session=session).created
    own_engine.dispose()
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        enqueue_case(external_tenant_id="acme", case=a_case())


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_any_isolation_of_the_caller_will_do(ledger: Database, isolation: str) -> None:
    first = enqueue_case(external_tenant_id="acme", case=a_case())
    with Session(ledger.engine.execution_options(isolation_level=isolation)) as session, session.begin():
        again = enqueue_case(external_tenant_id="acme", case=a_case(), session=session)

    assert again == EnqueuedJob(first.id, created=False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"amountToRecover": 1250.1}, {"amountToRecover": Decimal("1250.10")}),
        ({"amountToRecover": 1250}, {"amountToRecover": 1250.0}),
        ({"amountToRecover": Decimal("1.25E+3")}, {"amountToRecover": 1250}),
        ({"x": {"a": 1, "b": 2}}, {"x": {"b": 2, "a": 1}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [None, "INV-1"])
def test_the_same_case_twice_is_one_job_however_it_is_written(
    ledger: Database, key: str | None, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first = enqueue_case(external_tenant_id="acme", case=a_case(**one), idempotency_key=key)
    backwards = dict(reversed(list(a_case(**other).items())))
    second = enqueue_case(external_tenant_id="acme", case=backwards, idempotency_key=key)

    assert second == EnqueuedJob(first.id, created=False)
    assert count(ledger) == 1


def test_another_case_under_the_same_key_is_refused_and_says_whose_it_is(ledger: Database) -> None:
    first = enqueue_case(external_tenant_id="acme", case=a_case(), idempotency_key="INV-1")
    with pytest.raises(IdempotencyKeyReused, match=str(first.id)) as refused:
        enqueue_case(external_tenant_id="acme", case=a_case(amountToRecover=1), idempotency_key="INV-1")

    assert (refused.value.key, refused.value.job_id) == ("INV-1", first.id)
    assert "INV-1" in str(refused.value)
    assert count(ledger) == 1


def test_a_refused_key_leaves_the_caller_s_transaction_usable(ledger: Database) -> None:
    enqueue_case(external_tenant_id="acme", case=a_case(), idempotency_key="INV-1")
    with Session(ledger.engine) as session, session.begin():
        with pytest.raises(IdempotencyKeyReused):
            enqueue_case(external_tenant_id="acme", case=a_case(x=1), idempotency_key="INV-1", session=session)
        enqueue_case(external_tenant_id="acme", case=a_case(), idempotency_key="INV-2", session=session)

    assert count(ledger) == 2


def test_the_same_reference_with_another_case_is_another_case_under_one_key(ledger: Database) -> None:
    enqueue_case(external_tenant_id="acme", case=a_case(creditorReference="INV-1"))
    with pytest.raises(IdempotencyKeyReused):
        enqueue_case(external_tenant_id="acme", case=a_case(creditorReference="INV-1", amountToRecover=1))


def test_an_idempotency_key_belongs_to_one_tenant(ledger: Database) -> None:
    jobs = {enqueue_case(external_tenant_id=t, case=a_case(), idempotency_key="k").id for t in ("a", "A", "a ")}
    assert len(jobs) == 3


def test_many_at_once_under_one_key_make_one_job(ledger: Database) -> None:
    def enqueue(_: int) -> EnqueuedJob:
        return enqueue_case(external_tenant_id="acme", case=a_case(creditorReference="INV-1"))

    for _ in range(5):
        ledger.rows("TRUNCATE jobs CASCADE")
        jobs = at_once(8, enqueue)
        assert len({job.id for job in jobs}) == 1
        assert [job.created for job in jobs].count(True) == 1
        assert count(ledger) == 1


def test_whoever_waits_for_an_open_transaction_with_the_key_gets_the_job_if_that_one_rolls_back(
    ledger: Database,
) -> None:
    with Session(ledger.engine) as session, ThreadPoolExecutor(1) as threads:
        enqueue_case(external_tenant_id="acme", case=a_case(), session=session)
        waiting = threads.submit(enqueue_case, external_tenant_id="acme", case=a_case())
        while not ledger.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert not waiting.done()
        session.rollback()
        job = waiting.result(10)

    assert job.created
    assert ledger.value("SELECT id FROM jobs") == job.id


def test_a_key_of_a_job_that_is_long_done_still_protects(ledger: Database, pipeline: Pipeline) -> None:
    job_id = pipeline.submit(key="k")
    again = enqueue_case(external_tenant_id="acme", case=a_case(), idempotency_key="k")

    assert again == EnqueuedJob(job_id, created=False)
    assert pipeline.job(job_id)["state"] == "submitted"


@pytest.mark.parametrize(
    "arguments",
    [{"external_tenant_id": ""}, {"case": {}}, {"case": a_case(x="\x00")}, {"idempotency_key": "k" * 256}],
    ids=["tenant", "case", "NUL", "key"],
)
def test_bad_input_stores_nothing_and_leaves_the_session_usable(ledger: Database, arguments: dict[str, Any]) -> None:
    with Session(ledger.engine) as session, session.begin():
        with pytest.raises(InvalidCase):
            enqueue_case(**{"external_tenant_id": "acme", "case": a_case(), "session": session} | arguments)
        enqueue_case(external_tenant_id="acme", case=a_case(), session=session)

    assert count(ledger) == 1


@pytest.mark.parametrize(
    "amount", [Decimal("1E-9999999"), Decimal("1E+9999999"), 10**4000, 5e-324, 1e308, Decimal("-0.00005")], ids=repr
)
def test_numbers_that_the_amount_column_cannot_hold_do_not_stop_the_case(ledger: Database, amount: Any) -> None:
    enqueue_case(external_tenant_id="acme", case=a_case(amountToRecover=amount))

    assert count(ledger) == 1


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({"amountToRecover": Decimal("1250.10")}, b'"amountToRecover":1250.10'),
        ({"x": 10**30}, b'"x":1000000000000000000000000000000'),
        ({"x": Decimal("0.1000000000000000000000000001")}, b'"x":0.1000000000000000000000000001'),
        ({"comments": "Ærø 🏦 \u2028"}, "Ærø 🏦".encode()),
    ],
    ids=["trailing zero", "big int", "28 digits", "non-ASCII"],
)
def test_the_bytes_that_reach_the_api_are_the_body_fixed_at_the_door(
    pipeline: Pipeline, sandbox: Witness, fields: dict[str, Any], fragment: bytes
) -> None:
    job_id = pipeline.submit(**fields)

    body = pipeline.job(job_id)["case_body"].encode()
    assert fragment in body
    assert sandbox.posts()[0]["bodySha256"] == sha256(body).hexdigest()
