"""The preview, the page, the terminal, the SQL and the worker agree on what a replay does."""

from __future__ import annotations

import pytest

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import change_job, insert_dead_job, insert_unreadable_message
from tests.support.sandbox_witness import Witness
from tests.support.web_visitor import USERS, Visitor, report
from worker.ledger.queries.filters import FailureFilter
from worker.ledger.queries.targets import selected, targets_by_id
from worker.ledger.states import State
from worker.policy.replay_plan import ReplayPlan
from worker.report.tally import describe_plans

#: (outcome unknown, marked by `reconcile`, reference): the plan, what the page calls it, and whether the key stays.
CASES = [
    (False, False, None, ReplayPlan.NEW_KEY, "New key.", False),
    (False, False, "R", ReplayPlan.NEW_KEY, "New key.", False),
    (False, True, None, ReplayPlan.ASK_A_PERSON, "Needs a person again.", False),
    (False, True, "R", ReplayPlan.LOOK_UP_FIRST, "Look-up first.", False),
    (True, False, None, ReplayPlan.SAME_KEY, "Same key.", True),
    (True, False, "R", ReplayPlan.LOOK_UP_FIRST, "Look-up first.", True),
    (True, True, None, ReplayPlan.ASK_A_PERSON, "Needs a person again.", True),
    (True, True, "R", ReplayPlan.LOOK_UP_FIRST, "Look-up first.", True),
]
VARIANTS = pytest.mark.parametrize(("unknown", "marked", "reference", "plan", "heading", "keeps"), CASES)


@VARIANTS
def test_preview_page_terminal_and_sql_say_the_same(
    ledger: Database, variables: dict[str, str], unknown: bool, marked: bool, reference: str | None,
    plan: ReplayPlan, heading: str, keeps: bool,
) -> None:  # fmt: skip
    # Given a dead job, and an unreadable message beside it
    job = insert_dead_job(ledger, unknown=unknown, look_up_first=marked, reference=reference)
    insert_unreadable_message(ledger)
    key = ledger.value("SELECT submission_key FROM jobs WHERE id = %s", job)

    # Then the preview's count, the single target and the terminal name one plan
    with ledger.engine.connect() as connection:
        assert selected(connection, FailureFilter()).plans == {plan: 1}
        (target,) = targets_by_id(connection, [job])
    assert target.plan is plan
    previewed = run(variables, "replay", "--all", "--dry-run")
    assert f"would be replayed: {describe_plans({plan: 1})}" in previewed.stdout

    # And so does the page, where discarding warns if the case may exist
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.sign_in("olga")
    page = visitor.get("/act?verb=replay&scope=filter&reason=validation").text
    assert [words for words in {case[4] for case in CASES} if words in page] == [heading]
    may_exist = unknown or marked
    page = visitor.get("/act?verb=discard&scope=filter&reason=validation").text
    assert ('data-preview="unknown"' in page) is may_exist
    discard = run(variables, "discard", "--all", "--note", "n", "--dry-run").stdout
    assert ("may exist at Debitura" in discard) is may_exist

    # When it is replayed, the key stays only after an unknown outcome
    assert run(variables, "replay", str(job), "--note", "n").exit_code == 0
    assert (ledger.value("SELECT submission_key FROM jobs WHERE id = %s", job) == key) is keeps


@VARIANTS
def test_the_worker_does_what_the_preview_said(
    pipeline: Pipeline, sandbox: Witness, unknown: bool, marked: bool, reference: str | None,
    plan: ReplayPlan, heading: str, keeps: bool,
) -> None:  # fmt: skip
    # Given a job that was refused for its data, which is fine by now, and what else is known of it
    job = pipeline.submit(currencyCode="?", **({"creditorReference": reference} if reference else {}))
    before = pipeline.job(job)
    assert before["state"] == State.DEAD
    body = before["case_body"].replace('"?"', '"DKK"')
    assert body != before["case_body"]
    change_job(pipeline.ledger, job, outcome_unknown=unknown, look_up_first=marked, case_body=body)

    # When it is replayed
    assert pipeline.replay(job) == [job]
    pipeline.run()

    # Then it is looked up, sent, or given back, and its key stayed or was renewed
    sent = plan is not ReplayPlan.ASK_A_PERSON
    assert pipeline.job(job)["state"] == (State.SUBMITTED if sent else State.DEAD)
    assert sandbox.lookups() == (1 if plan is ReplayPlan.LOOK_UP_FIRST else 0)
    assert len(sandbox.posts()) == (2 if sent else 1)
    assert (pipeline.job(job)["submission_key"] == before["submission_key"]) is keeps
