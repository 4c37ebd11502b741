"""The text of an alert: a title, a sentence or two, and the page that shows more. Pure.

The text contains only the alert's facts: reasons, counts, error types, tenant ids. They hold no debtor data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from worker.case.fields import one_line
from worker.ledger.alert_models import AlertKind
from worker.ledger.queries.filters import FailureFilter
from worker.ledger.writer.holds import HoldName
from worker.report.advice import what_to_do
from worker.report.formatting import counted, span
from worker.report.web.addresses import query_for

Facts = Mapping[str, Any]

BRAKE_ON = "The API refuses every job alike: the fleet has stopped"
BRAKE_OFF = "The API takes cases again: the fleet goes on"
_BRAKE_ON = (
    "Many jobs of several tenants met the same verdict, so it counts as the API's fault: no job is failed, and one job"
    " at a time finds out when it is over. case-worker status names the verdict. If it is right, accept it:"
    " case-worker brake accept."
)
_SENT_AGAIN = "The jobs that met it are sent again by themselves."
_CIRCUIT_OPEN = (
    "Its circuit is open: one job at a time tests whether the API works again. Meanwhile no attempts are counted and no"
    " job is failed. You don't need to do anything unless it lasts."
)
_APIS = {"customer_api": "Customer API", "referral_api": "Referral Partner API"}


def title_of(kind: AlertKind, facts: Facts) -> str:
    """One line."""
    count = facts.get("count", 1)
    match kind:
        case AlertKind.NEW_FAILURE_GROUP if count > 1:
            return f"{count:,} new groups of failures"
        case AlertKind.NEW_FAILURE_GROUP:
            return f"New group of failures: {_group(facts['groups'][0])}"
        case AlertKind.INVALID_LINK if count > 1:
            return f"{count:,} client links are invalid"
        case AlertKind.INVALID_LINK:
            return f"Invalid client link: tenant {_tenant(facts['links'][0])}"
        case AlertKind.PARTNER_KEY_REFUSED:
            return "The partner API key is refused"
        case AlertKind.PARTNER_KEY_ACCEPTED:
            return "The partner API key is accepted again"
        case AlertKind.CIRCUIT_OPENED:
            return BRAKE_ON if _is_brake(facts) else f"The {_api(facts)} is failing"
        case AlertKind.CIRCUIT_CLOSED:
            return BRAKE_OFF if _is_brake(facts) else f"The {_api(facts)} works again"
        case AlertKind.OLDEST_PENDING_OVER:
            return f"The oldest pending job has waited for {span(facts['seconds'])}"
        case AlertKind.OLDEST_PENDING_RECOVERED:
            return "Pending jobs are on time again"
        case AlertKind.TEST:
            return "A test alert"


def text_of(kind: AlertKind, facts: Facts) -> str:
    """What it means, and what to do about it."""
    match kind:
        case AlertKind.NEW_FAILURE_GROUP:
            return _describe_groups(facts)
        case AlertKind.INVALID_LINK:
            return _describe_links(facts)
        case AlertKind.PARTNER_KEY_REFUSED:
            return (
                "No cases are submitted, and no job is failed because of it. Give the workers a valid key"
                " (DEBITURA_API_KEY) and restart them; case-worker doctor checks it."
            )
        case AlertKind.PARTNER_KEY_ACCEPTED:
            return f"Submission continues. The key was refused for {span(facts['seconds'])}."
        case AlertKind.CIRCUIT_OPENED:
            return _BRAKE_ON if _is_brake(facts) else _CIRCUIT_OPEN
        case AlertKind.CIRCUIT_CLOSED:
            stopped = span(facts["seconds"])
            return f"It had stopped for {stopped}. {_SENT_AGAIN}" if _is_brake(facts) else _closed(stopped)
        case AlertKind.OLDEST_PENDING_OVER:
            return (
                f"That is more than {span(facts['limit'])}. case-worker status says what keeps the fleet: a hold, a"
                " rate limit, too few workers, or none."
            )
        case AlertKind.OLDEST_PENDING_RECOVERED:
            return f"The oldest pending job had waited for more than {span(facts['limit'])}."
        case AlertKind.TEST:
            return "If you can read this, alerts from case-worker reach you."


def page_of(kind: AlertKind, facts: Facts, report_url: str) -> str | None:
    """The URL of the page that shows it; None if REPORT_URL is not set."""
    if not report_url:
        return None
    wanted = None
    if kind is AlertKind.NEW_FAILURE_GROUP and facts.get("count") == 1:
        wanted = FailureFilter(cause=UUID(facts["groups"][0]["cause"]))
    if kind is AlertKind.INVALID_LINK and facts.get("count") == 1:
        wanted = FailureFilter(tenant=facts["links"][0]["externalTenantId"], invalid_links=True)
    if wanted:
        return f"{report_url}/jobs?{query_for(wanted)}"
    return f"{report_url}/links" if kind is AlertKind.INVALID_LINK else f"{report_url}/"


def _describe_groups(facts: Facts) -> str:
    groups = facts["groups"]
    if facts["count"] == 1:
        (group,) = groups
        advice = what_to_do(group["reason"], group["errorType"])
        return f"{counted(group['failures'], 'failure')} so far. {advice}"
    named = "; ".join(f"{_group(group)}: {group['failures']}" for group in groups)
    return f"By cause, with open failures: {named}{_more(facts, len(groups))}."


def _describe_links(facts: Facts) -> str:
    links = facts["links"]
    if facts["count"] == 1:
        return what_to_do(links[0]["reason"])
    named = ", ".join(_tenant(link) for link in links)
    return f"Tenants: {named}{_more(facts, len(links))}. Have each client linked again, then replay."


def _more(facts: Facts, named: int) -> str:
    left = facts["count"] - named
    return f", and {left:,} more" if left > 0 else ""


def _group(group: Facts) -> str:
    words = str(group["reason"])
    if group["errorType"]:
        words += f" ({group['errorType']})"
    elif group["httpStatus"]:
        words += f" (HTTP {group['httpStatus']})"
    return words


def _tenant(link: Facts) -> str:
    return one_line(str(link["externalTenantId"]))[:255]


def _closed(lasted: str) -> str:
    return f"Its circuit closed after {lasted}; submission continues."


def _is_brake(facts: Facts) -> bool:
    return bool(facts["circuit"] == HoldName.BRAKE)


def _api(facts: Facts) -> str:
    return _APIS.get(str(facts["circuit"]), str(facts["circuit"]))
