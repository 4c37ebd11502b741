"""The audit log in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.ledger.queries.audit import Act
from worker.ledger.states import AuditAction
from worker.report.audit_descriptions import NAMES, PAST, SENTENCES, describe, describe_channel, name_of
from worker.report.web.audit_addresses import read_audit_filter


def act(action: str, **detail: Any) -> Act:
    return Act(1, datetime(2026, 1, 1, tzinfo=UTC), "ada", action, None, detail, None)


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (act("replay", submission_key="renewed", operation=7), "Replayed the job under a new submission key"),
        (act("replay", submission_key="kept"), "Replayed the job under the same key, because its outcome is unknown"),
        (act("discard"), "Discarded the job"),
        (act("discard", dead_letter=4), "Discarded the unreadable message 4"),
        (act("edit", version=2, changed=["debtor.email"]), "Corrected the job's case (version 2): debtor.email"),
        (act("reveal"), "Viewed the job's personal data"),
        (act("reveal", **{"for": "edit"}), "Viewed the job's personal data to correct it"),
        (act("reveal", dead_letter=4), "Viewed the content of the unreadable message 4"),
        (act("operation_started", operation=7, verb="replay", canary=True, jobs=12, messages=0, tenants=1),
         "Started operation 7: replay 12 jobs of 1 tenant, as a canary"),
        (act("operation_started", operation=8, verb="discard", jobs=1, messages=2, tenants=0),
         "Started operation 8: discard 1 job and 2 unreadable messages"),
        (act("operation_finished", operation=7, state="stopped", done=1, skipped=2),
         "Operation 7 stopped: 1 done, 2 skipped"),
        (act("operation_cancelled", operation=7), "Requested that operation 7 stops"),
        (act("export", tenant="acme", reference_sha256=None), "Exported the data of tenant acme"),
        (act("erase", door="command line"), "Erased the job's case data"),
        (act("erase", tenant="acme", reference_sha256="ab12", jobs=2, left=1),
         "Erased the case data of 2 jobs of tenant acme under one reference; 1 job left, which may still be submitted"),
        (act("purge", older_than_seconds=7_776_000.0, jobs=12, messages=0, finished=True),
         "Removed the case data of 12 jobs done for over 90 days"),
        (act("rekey", key="03a0474f12ca", texts=7), "Encrypted 7 texts with key 03a0474f12ca"),
        (act("reconcile", restored_to=None),
         "Marked the job for a look-up before it is sent, after a restore of the ledger"),
        (act("reconcile_absent"), "Confirmed that the job's case is not at the API, so it may be sent"),
        (act("key_rotated", door="command line", jobs=12), "Key rotated: jobs 12"),
    ],
)  # fmt: skip
def test_every_action_is_told_in_words(done: Act, words: str) -> None:
    assert describe(done) == words


def test_each_action_has_a_name_a_sentence_and_a_past_tense() -> None:
    assert set(NAMES) == set(PAST) == set(SENTENCES) == set(AuditAction)


@pytest.mark.parametrize("action", NAMES)
def test_an_entry_of_which_little_was_kept_is_told_all_the_same(action: str) -> None:
    assert describe(act(action))
    assert name_of(action) == NAMES[action]


def test_the_way_in_is_told_where_it_is_known() -> None:
    assert describe_channel({"door": "web page", "address": "10.0.0.7"}) == "web page, 10.0.0.7"
    assert describe_channel({"operation": 1}) is None


def test_days_are_whole_ones_and_what_cannot_be_read_is_said() -> None:
    found = read_audit_filter({"from": "2026-01-31", "to": "2026-01-31"}).filter
    assert found.since == datetime(2026, 1, 31, tzinfo=UTC)
    assert found.before == datetime(2026, 2, 1, tzinfo=UTC)

    bad = read_audit_filter({"from": "yesterday", "to": "9999-12-31", "job": "7", "who": "a\x00", "action": "edit"})
    assert set(bad.problems) == {"from", "to", "job", "who"}
    assert bad.filter == read_audit_filter({}).filter
