"""The report in the terminal: the causes with advice, then the failures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice

from worker.case.fields import one_line
from worker.ledger.queries import Failure, Group, Selected
from worker.report.advice import full_advice
from worker.report.formatting import counted, describe_error, moment, money
from worker.report.terminal import Column, Screen

#: Failures per table. A longer list continues in another table, so that rows appear while they are read.
ROWS = 1000
#: Minimum terminal width for a table of failures; narrower ones get a block per failure.
WIDE = 110
NO_MESSAGE = "no message"

_CAUSE_COLUMNS = (
    Column("jobs", right=True, whole=True),
    Column("tenants", right=True, whole=True),
    Column("amount", right=True, whole=True),
    Column("first and last seen", whole=True),
    Column("cause and what to do", share=1),
)
_COLUMNS = (
    Column("job", whole=True),
    Column("tenant"),
    Column("reference"),
    Column("amount", right=True),
    Column("died", whole=True),
    Column("reason", whole=True),
    Column("what happened", share=1),
)


def show_report(
    screen: Screen,
    found: Selected,
    causes: list[Group],
    failures: Iterable[Failure],
    *,
    held_by: Sequence[str] = (),
    narrowed: bool = False,
) -> None:
    """Show the report. `found`, `causes` and `failures` come from the same filter; `held_by`: what pauses the fleet.

    `narrowed`: whether the filter excludes anything.
    """
    for words in held_by:
        screen.line(words, style="bold")
    if held_by:
        screen.line()
    if not causes:
        screen.line("No open failure matches these options." if narrowed else "No open failures.")
        return
    screen.line(_headline(found, causes), style="bold")
    screen.line()
    _show_causes(screen, causes)
    rows = iter(failures)
    while page := list(islice(rows, ROWS)):
        if screen.is_terminal and screen.width < WIDE:
            _show_blocks(screen, page)
        else:
            screen.table(_COLUMNS, [_cells(failure) for failure in page])
    screen.line()
    screen.line(
        "One job's history: case-worker show JOB_ID. To act: case-worker replay --help, case-worker discard --help"
    )


def amounts_in(cause: Group) -> str:
    """The sums by currency, e.g. `18750.00 DKK + 640.00 EUR`, and the number of failures without an amount."""
    sums = [money(Decimal(total), currency) for currency, total in sorted(cause.amounts.items())]
    if cause.without_amount:
        sums.append(f"{cause.without_amount} without a known amount")
    return " + ".join(sums)


def _headline(found: Selected, causes: list[Group]) -> str:
    parts = []
    if found.jobs:
        parts.append(f"{counted(found.jobs, 'job')} of {counted(found.tenants, 'tenant')}")
    if found.messages:
        parts.append(counted(found.messages, "unreadable message"))
    invalid = sum(cause.failures for cause in causes if cause.invalid_client_link)
    links = f"; invalid client link: {counted(invalid, 'job')}" if invalid else ""
    verb = "needs" if found.jobs + found.messages == 1 else "need"
    return f"{' and '.join(parts)} {verb} a person, for {counted(len(causes), 'cause')}{links}"


def _show_causes(screen: Screen, causes: list[Group]) -> None:
    if screen.is_terminal and screen.width >= WIDE:
        rows = [
            [
                str(cause.failures),
                str(cause.tenants),
                amounts_in(cause).replace(" + ", "\n"),
                "\n".join(_seen(cause)),
                "\n".join([_title(cause), *(f"{name}: {value}" for name, value in _remedy(cause))]),
            ]
            for cause in causes
        ]
        screen.table(_CAUSE_COLUMNS, rows, ruled=True)
        return
    for cause in causes:
        noun = "job" if cause.tenants else "message"
        whose = f" of {counted(cause.tenants, 'tenant')}" if cause.tenants else ""
        facts = [("failed", f"{counted(cause.failures, noun)}{whose}"), ("amount", amounts_in(cause))]
        facts += [("seen", " to ".join(_seen(cause))), *_remedy(cause)]
        screen.line(_title(cause), style="bold")
        screen.facts((name, value) for name, value in facts if value)
        screen.line()


def _title(cause: Group) -> str:
    link = " (invalid client link)" if cause.invalid_client_link else ""
    return f"{cause.reason}{link}: {describe_error(cause.error_type, cause.message) or NO_MESSAGE}"


def _remedy(cause: Group) -> list[tuple[str, str]]:
    facts = [("to do", full_advice(cause.reason, cause.error_type))]
    if cause.solution_url:
        facts.append(("link", one_line(cause.solution_url)))
    elif cause.solution_urls:
        facts.append(("link", f"{cause.solution_urls} different links, each shown with its job below"))
    return facts


def _seen(cause: Group) -> list[str]:
    """First and last time, or one if they are equal."""
    return list(dict.fromkeys((moment(cause.first_seen), moment(cause.last_seen))))


def _what_happened(failure: Failure) -> str:
    parts = [describe_error(failure.error_type, failure.message) or NO_MESSAGE]
    if failure.http_status:
        parts.insert(0, str(failure.http_status))
    if failure.outcome_unknown:
        parts.append("[the case may exist]")
    if failure.solution_url:
        parts.append(f"→ {one_line(failure.solution_url)}")
    return " ".join(parts)


def _named(failure: Failure) -> str:
    return str(failure.job_id) if failure.job_id else f"message {failure.dead_letter_id}"


def _cells(failure: Failure) -> list[str]:
    return [
        _named(failure),
        one_line(failure.external_tenant_id or "-"),
        one_line(failure.creditor_reference or "-"),
        money(failure.amount, failure.currency) or "-",
        moment(failure.created_at),
        failure.reason,
        _what_happened(failure),
    ]


def _show_blocks(screen: Screen, page: Iterable[Failure]) -> None:
    for failure in page:
        job, tenant, reference, amount, died, reason, happened = _cells(failure)
        screen.line(job, style="bold")
        screen.facts(
            [("tenant", tenant), ("case", f"{reference}, {amount}"), ("died", died), (reason, happened)], indent=4
        )
