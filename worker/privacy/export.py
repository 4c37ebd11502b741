"""Export everything stored about a data subject as one JSON object, written while it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from sqlalchemy import Connection

from worker.case.protection import Protection
from worker.errors import CaseSealed
from worker.ledger.queries.subjects import job_rows
from worker.privacy.subject import Match, Subject, matching_jobs, matching_messages

#: Internal columns, left out of the export.
_OURS = ("lease_token", "lease_owner", "lease_until", "round")


@dataclass(slots=True)
class Exported:
    """What was written."""

    jobs: int = 0
    messages: int = 0
    unsure: int = 0
    """Jobs whose case can't be decrypted. The case is missing from the export, or the whole job is, if its reference
    can't be checked."""


def export(
    connection: Connection,
    subject: Subject,
    protection: Protection,
    out: TextIO,
    *,
    heading: dict[str, Any],
    plain: Callable[[Any], Any],
    tell: Callable[[Exported], object] = lambda _: None,
) -> Exported:
    """Write the subject's jobs with all related rows, and its unreadable messages.

    `heading` is written first; `plain` converts database values to JSON values.
    """
    done = Exported()
    out.write(f'{{\n  "subject": {_text(plain(heading))},\n  "jobs": [')
    separator = "\n"
    for match in matching_jobs(connection, subject, protection):
        if match.unsure:
            done.unsure += 1
            continue
        job = _job(connection, match, protection)
        done.unsure += "case_missing" in job["job"]
        out.write(f"{separator}    {_text(plain(job))}")
        separator, done.jobs = ",\n", done.jobs + 1
        tell(done)
    out.write('\n  ],\n  "unreadable_messages": [')
    separator = "\n"
    for message in matching_messages(connection, subject, protection):
        sent = protection.open_message(message.dead_letter_id, message.sent)
        out.write(f"{separator}    {_text({'dead_letter_id': message.dead_letter_id, 'sent': sent})}")
        separator, done.messages = ",\n", done.messages + 1
    out.write("\n  ]\n}\n")
    return done


def _job(connection: Connection, match: Match, protection: Protection) -> dict[str, Any]:
    rows = job_rows(connection, match.job.id)
    job = {name: value for name, value in rows["jobs"][0].items() if name not in _OURS}
    for row in (job, *rows["case_versions"]):
        try:
            row["case"] = protection.open_case(match.job.id, row.pop("case_body"))
        except CaseSealed as error:
            row["case"] = None
            row["case_missing"] = str(error)
    if job["purged_at"]:
        job["case"] = None
    return {
        "job": job,
        "case_versions": rows["case_versions"],
        "attempts": rows["attempts"],
        "dead_letters": rows["dead_letters"],
        "audit": rows["audit_log"],
    }


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
