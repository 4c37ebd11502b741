"""What must be true when all faults have ended and everything has settled: nothing lost, nothing twice, no guessing.

The ledger's story is held against the sandbox's own record. Pure functions over rows, so that the invariant itself can
be tested with stories that break it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Reasons that leave open whether the API has the case: a person decides.
UNDECIDED = ("outcome_unknown", "unexpected_response")
#: Reasons for which a tenant's other jobs are held.
LINK_REASONS = ("second_unauthorized", "client_link_not_found")
Requests = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class LedgerJob:
    """One row of `jobs`, and what belongs to it."""

    id: str
    tenant: str
    idempotency_key: str
    body_sha256: str
    state: str
    submission_key: str
    case_id: str | None = None
    open_reasons: tuple[str, ...] = ()
    """Reasons of its dead letters that nobody has dealt with."""
    open_attempts: int = 0
    attempts: Mapping[str, int] = field(default_factory=dict)
    """By submission key: attempts of which the ledger does not say that they were not sent."""


def differences(jobs: Sequence[LedgerJob], expected: Iterable[tuple[str, str]], cases: Requests, posts: Requests,
                mints: Requests) -> list[str]:  # fmt: skip
    """Everything that breaks the invariant, one line each.

    `expected` names every job that was enqueued, as (tenant, idempotency key).
    """
    by_body: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for case in cases:
        by_body[case["externalTenantId"], case["bodySha256"]].append(case)
    by_key: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for post in posts:
        by_key[post["idempotencyKey"]].append(post)
    found = _unexpected(jobs, expected)
    flagged = {job.tenant for job in jobs if set(job.open_reasons) & set(LINK_REASONS)}
    for job in jobs:
        if job.state == "held" and job.tenant not in flagged:
            found.append(f"job {job.id}: it is held, and no job of its tenant died of the client link")
        its_cases = by_body.pop((job.tenant, job.body_sha256), [])
        found += [f"job {job.id}: {problem}" for problem in _problems(job, its_cases, by_key, mints)]
    for case in (case for leftover in by_body.values() for case in leftover):
        found.append(f"case {case['id']} of tenant {case['externalTenantId']} belongs to no job")
    return found


def _unexpected(jobs: Sequence[LedgerJob], expected: Iterable[tuple[str, str]]) -> list[str]:
    wanted, there = set(expected), Counter((job.tenant, job.idempotency_key) for job in jobs)
    return [
        *(f"LOST: {'/'.join(pair)} was enqueued; the ledger lacks it" for pair in sorted(wanted - set(there))),
        *(f"{'/'.join(pair)} is in the ledger, and nobody enqueued it" for pair in sorted(set(there) - wanted)),
        *(f"TWICE: {pair} has {count} jobs" for pair, count in there.items() if count > 1),
    ]  # fmt: skip


def _problems(job: LedgerJob, cases: Requests, posts: Mapping[str, Requests], mints: Requests) -> Iterable[str]:
    if job.open_attempts:
        yield f"{job.open_attempts} attempt(s) of it are still open"
    for key, attempts in job.attempts.items():
        if len(posts.get(key, ())) > attempts:
            yield f"the sandbox saw {len(posts[key])} requests under its key {key}, the ledger knows {attempts}"
    if len(cases) > 1:
        yield f"TWICE: the sandbox has {len(cases)} cases for it: {', '.join(case['id'] for case in cases)}"
    if job.state == "submitted":
        if not cases:
            yield f"LOST: the ledger says submitted as {job.case_id}, and the sandbox has no case"
        elif job.case_id not in [case["id"] for case in cases]:
            yield f"the ledger remembers case {job.case_id}, the sandbox has {cases[0]['id']}"
        if job.open_reasons:
            yield f"it is submitted and has an open dead letter: {job.open_reasons}"
    elif job.state == "dead":
        if len(job.open_reasons) != 1:
            yield f"it is dead with {len(job.open_reasons)} open dead letters"
        for reason in job.open_reasons:
            if cases and reason not in UNDECIDED:
                yield f"it is dead ({reason}), and the sandbox has the case {cases[0]['id']}"
            if not agrees(reason, job.tenant, posts.get(job.submission_key, ()), mints):
                statuses = [post["status"] for post in posts.get(job.submission_key, ())]
                yield f"it is dead ({reason}), and the sandbox answered {statuses}"
    elif job.state != "held":
        yield f"it stays in state {job.state}"


def agrees(reason: str, tenant: str, posts: Requests, mints: Requests) -> bool:
    """Whether the sandbox's record of the job's requests explains why the job is dead."""
    statuses = [post["status"] for post in posts]
    last = statuses[-1] if statuses else None
    refused = [mint["status"] for mint in mints if mint["externalTenantId"] == tenant]
    match reason:
        case "second_unauthorized":
            return statuses[-2:] == [401, 401]
        case "client_link_not_found":
            return 404 in refused
        case "validation":
            return last in (400, 413) or 400 in refused
        case "business_rule":
            return last in (422, 400)
        case "forbidden":
            return last == 403
        case "not_found":
            return last == 404
        case "retries_exhausted":
            return 200 not in statuses and None not in statuses
        case "outcome_unknown":
            return bool(statuses)
        case "unexpected_response":
            return last is not None
    return False
