"""The entries of the audit log in words. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worker.ledger.queries.audit import Act
from worker.ledger.states import AuditAction
from worker.report.formatting import counted

#: Each action's name, for menus.
NAMES: dict[str, str] = {
    AuditAction.REPLAY: "Replayed a job",
    AuditAction.DISCARD: "Gave up a job or message",
    AuditAction.EDIT: "Corrected a case",
    AuditAction.REVEAL: "Looked at personal data",
    AuditAction.OPERATION_STARTED: "Started an operation",
    AuditAction.OPERATION_FINISHED: "An operation ended",
    AuditAction.OPERATION_CANCELLED: "Asked for a stop",
    AuditAction.EXPORT: "Exported what is kept of a tenant",
    AuditAction.ERASE: "Erased case data",
    AuditAction.PURGE: "Removed old case data",
    AuditAction.REKEY: "Encrypted cases with a new key",
    AuditAction.RECONCILE: "Marked to be looked up first",
    AuditAction.RECONCILE_ABSENT: "Said a case is not at the API",
    AuditAction.BRAKE_WITHDREW: "Took back what died while the API refused everybody",
    AuditAction.BRAKE_ACCEPTED: "Accepted the verdict that stopped the fleet",
    AuditAction.BRAKE_RELEASED: "Released the brake",
    AuditAction.LINK_FREED: "Let held jobs go on",
}
#: What happened, before `by` and a name.
PAST: dict[str, str] = {
    AuditAction.REPLAY: "replayed",
    AuditAction.DISCARD: "discarded",
    AuditAction.EDIT: "case corrected",
    AuditAction.REVEAL: "personal data looked at",
    AuditAction.OPERATION_STARTED: "operation started",
    AuditAction.OPERATION_FINISHED: "operation ended",
    AuditAction.OPERATION_CANCELLED: "asked to stop the operation",
    AuditAction.EXPORT: "personal data exported",
    AuditAction.ERASE: "personal data erased",
    AuditAction.PURGE: "old case data removed",
    AuditAction.REKEY: "encrypted with a new key",
    AuditAction.RECONCILE: "marked to be looked up first, after a restore,",
    AuditAction.RECONCILE_ABSENT: "said not to be at the API",
    AuditAction.BRAKE_WITHDREW: "taken back",
    AuditAction.BRAKE_ACCEPTED: "verdict accepted",
    AuditAction.BRAKE_RELEASED: "brake released",
    AuditAction.LINK_FREED: "held jobs freed",
}
_KEYS = {"renewed": "under a new submission key", "kept": "under the same key, its outcome being unknown"}


def name_of(action: str) -> str:
    """The action's name; one that is not known here is called by its own."""
    return NAMES.get(action) or action.replace("_", " ").capitalize()


def past_of(action: str) -> str:
    """What happened, before `by` and a name; an action that is not known here by its own name."""
    return PAST.get(action, action)


def describe(act: Act) -> str:
    """What was done, as a sentence without its subject and full stop: `Replayed the job under a new submission key`."""
    known = SENTENCES.get(act.action)
    return known(act.detail) if known else _anything(act)


def way(detail: dict[str, Any]) -> str | None:
    """By which door somebody came, e.g. `web page, 10.0.0.7`; None where it was not written down."""
    parts = [detail.get("door"), detail.get("address"), detail.get("os_user")]
    return ", ".join(str(part) for part in parts if part) or None


def _replay(detail: dict[str, Any]) -> str:
    key = _KEYS.get(str(detail.get("submission_key")), "")
    return f"Replayed the job {key}".strip()


def _discard(detail: dict[str, Any]) -> str:
    if detail.get("dead_letter"):
        return f"Gave up the unreadable message {detail['dead_letter']}"
    return "Gave up the job for good"


def _edit(detail: dict[str, Any]) -> str:
    changed = detail.get("changed")
    fields = f": {', '.join(map(str, changed))}" if isinstance(changed, list) and changed else ""
    return f"Corrected the job's case (version {detail.get('version', '?')}){fields}"


def _reveal(detail: dict[str, Any]) -> str:
    if detail.get("dead_letter"):
        return f"Looked at what was sent in the unreadable message {detail['dead_letter']}"
    return "Looked at the job's personal data" + (" to correct it" if detail.get("for") == "edit" else "")


def _started(detail: dict[str, Any]) -> str:
    what = "replay" if detail.get("verb") == "replay" else "discard"
    size = [counted(detail.get("jobs") or 0, "job")]
    if detail.get("messages"):
        size.append(counted(detail["messages"], "unreadable message"))
    tenants = f" of {counted(detail['tenants'], 'tenant')}" if detail.get("tenants") else ""
    canary = ", as a canary" if detail.get("canary") else ""
    return f"Started operation {detail.get('operation', '?')}: {what} {' and '.join(size)}{tenants}{canary}"


def _finished(detail: dict[str, Any]) -> str:
    skipped = f", {detail['skipped']:,} left out" if detail.get("skipped") else ""
    how = {"done": "is done", "stopped": "stopped", "cancelled": "was cancelled"}.get(str(detail.get("state")), "ended")
    return f"Operation {detail.get('operation', '?')} {how}: {detail.get('done') or 0:,} done{skipped}"


def _cancelled(detail: dict[str, Any]) -> str:
    return f"Asked for operation {detail.get('operation', '?')} to be stopped"


def _export(detail: dict[str, Any]) -> str:
    return f"Exported what is kept of tenant {detail.get('tenant', '?')}{_reference(detail)}"


def _erase(detail: dict[str, Any]) -> str:
    if "tenant" not in detail:
        return "Erased the job's case data"
    left = f"; {counted(detail['left'], 'job')} left, which may still be submitted" if detail.get("left") else ""
    erased = f"{counted(detail.get('jobs') or 0, 'job')} of tenant {detail['tenant']}{_reference(detail)}"
    return f"Erased the case data of {erased}{left}"


def _reference(detail: dict[str, Any]) -> str:
    return " under one reference" if detail.get("reference_sha256") else ""


def _purge(detail: dict[str, Any]) -> str:
    days = round((detail.get("older_than_seconds") or 0) / 86_400)
    return f"Removed the case data of {counted(detail.get('jobs') or 0, 'job')} done for over {counted(days, 'day')}"


def _rekey(detail: dict[str, Any]) -> str:
    return f"Sealed {counted(detail.get('texts') or 0, 'text')} with key {detail.get('key', '?')}"


def _reconcile(_detail: dict[str, Any]) -> str:
    return "Marked the job to be looked up before it is sent, after a restore of the ledger"


def _absent(_detail: dict[str, Any]) -> str:
    return "Said that the job's case is not at the API, so it may be sent"


def _withdrew(detail: dict[str, Any]) -> str:
    jobs = counted(detail.get("jobs") or 0, "job")
    return f"Took back {jobs} that died while the API refused everybody ({_verdict(detail)})"


def _accepted(detail: dict[str, Any]) -> str:
    return f"Let a verdict count as each job's own for a day ({_verdict(detail)})"


def _released(detail: dict[str, Any]) -> str:
    return f"Let the fleet go on after the brake had stopped it ({_verdict(detail)})"


def _freed(detail: dict[str, Any]) -> str:
    return f"Let {counted(detail.get('jobs') or 0, 'held job')} go on: the client link is good"


def _verdict(detail: dict[str, Any]) -> str:
    return ": ".join(str(detail[name]) for name in ("reason", "message") if detail.get(name))


#: What was done, from its detail.
SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    AuditAction.REPLAY: _replay,
    AuditAction.DISCARD: _discard,
    AuditAction.EDIT: _edit,
    AuditAction.REVEAL: _reveal,
    AuditAction.OPERATION_STARTED: _started,
    AuditAction.OPERATION_FINISHED: _finished,
    AuditAction.OPERATION_CANCELLED: _cancelled,
    AuditAction.EXPORT: _export,
    AuditAction.ERASE: _erase,
    AuditAction.PURGE: _purge,
    AuditAction.REKEY: _rekey,
    AuditAction.RECONCILE: _reconcile,
    AuditAction.RECONCILE_ABSENT: _absent,
    AuditAction.BRAKE_WITHDREW: _withdrew,
    AuditAction.BRAKE_ACCEPTED: _accepted,
    AuditAction.BRAKE_RELEASED: _released,
    AuditAction.LINK_FREED: _freed,
}


def _anything(act: Act) -> str:
    """An action that is not known here, with what was written down about it."""
    simple = {
        name: value
        for name, value in act.detail.items()
        if isinstance(value, str | int | float) and name not in {"door", "address", "os_user"}
    }
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in simple.items())
    return name_of(act.action) + (f": {facts}" if facts else "")
