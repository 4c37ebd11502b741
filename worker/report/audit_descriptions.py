"""Describe entries of the audit log. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worker.ledger.queries.audit import Act
from worker.ledger.states import AuditAction
from worker.report.formatting import counted

#: Names of the actions, for menus.
NAMES: dict[str, str] = {
    AuditAction.REPLAY: "Replayed a job",
    AuditAction.DISCARD: "Discarded a job or message",
    AuditAction.EDIT: "Corrected a case",
    AuditAction.REVEAL: "Viewed personal data",
    AuditAction.OPERATION_STARTED: "Started an operation",
    AuditAction.OPERATION_FINISHED: "Operation ended",
    AuditAction.OPERATION_CANCELLED: "Requested a stop",
    AuditAction.EXPORT: "Exported a tenant's data",
    AuditAction.ERASE: "Erased case data",
    AuditAction.PURGE: "Removed old case data",
    AuditAction.REKEY: "Encrypted cases with a new key",
    AuditAction.RECONCILE: "Marked for a look-up first",
    AuditAction.RECONCILE_ABSENT: "Confirmed a case absent at the API",
    AuditAction.BRAKE_WITHDREW: "Restored jobs that died while the API rejected all",
    AuditAction.BRAKE_ACCEPTED: "Accepted the verdict that stopped the fleet",
    AuditAction.BRAKE_RELEASED: "Released the brake",
    AuditAction.LINK_FREED: "Released held jobs",
}
#: What was done, to be followed by `by` and a name.
PAST: dict[str, str] = {
    AuditAction.REPLAY: "replayed",
    AuditAction.DISCARD: "discarded",
    AuditAction.EDIT: "case corrected",
    AuditAction.REVEAL: "personal data viewed",
    AuditAction.OPERATION_STARTED: "operation started",
    AuditAction.OPERATION_FINISHED: "operation ended",
    AuditAction.OPERATION_CANCELLED: "stop of the operation requested",
    AuditAction.EXPORT: "personal data exported",
    AuditAction.ERASE: "personal data erased",
    AuditAction.PURGE: "old case data removed",
    AuditAction.REKEY: "encrypted with a new key",
    AuditAction.RECONCILE: "marked for a look-up first, after a restore,",
    AuditAction.RECONCILE_ABSENT: "confirmed absent at the API",
    AuditAction.BRAKE_WITHDREW: "restored",
    AuditAction.BRAKE_ACCEPTED: "verdict accepted",
    AuditAction.BRAKE_RELEASED: "brake released",
    AuditAction.LINK_FREED: "held jobs released",
}
_KEYS = {"renewed": "under a new submission key", "kept": "under the same key, because its outcome is unknown"}


def name_of(action: str) -> str:
    """The action's name; derived from its code if it is unknown."""
    return NAMES.get(action) or action.replace("_", " ").capitalize()


def past_tense(action: str) -> str:
    """What was done, to be followed by `by` and a name; the code of an unknown action."""
    return PAST.get(action, action)


def describe(act: Act) -> str:
    """Describe the action without subject or full stop: `Replayed the job under a new submission key`."""
    known = SENTENCES.get(act.action)
    return known(act.detail) if known else _generic(act)


def describe_channel(detail: dict[str, Any]) -> str | None:
    """How the user acted, e.g. `web page, 10.0.0.7`; None if not recorded."""
    parts = [detail.get("door"), detail.get("address"), detail.get("os_user")]
    return ", ".join(str(part) for part in parts if part) or None


def _replay(detail: dict[str, Any]) -> str:
    key = _KEYS.get(str(detail.get("submission_key")), "")
    return f"Replayed the job {key}".strip()


def _discard(detail: dict[str, Any]) -> str:
    if detail.get("dead_letter"):
        return f"Discarded the unreadable message {detail['dead_letter']}"
    return "Discarded the job"


def _edit(detail: dict[str, Any]) -> str:
    changed = detail.get("changed")
    fields = f": {', '.join(map(str, changed))}" if isinstance(changed, list) and changed else ""
    return f"Corrected the job's case (version {detail.get('version', '?')}){fields}"


def _reveal(detail: dict[str, Any]) -> str:
    if detail.get("dead_letter"):
        return f"Viewed the content of the unreadable message {detail['dead_letter']}"
    return "Viewed the job's personal data" + (" to correct it" if detail.get("for") == "edit" else "")


def _started(detail: dict[str, Any]) -> str:
    what = "replay" if detail.get("verb") == "replay" else "discard"
    size = [counted(detail.get("jobs") or 0, "job")]
    if detail.get("messages"):
        size.append(counted(detail["messages"], "unreadable message"))
    tenants = f" of {counted(detail['tenants'], 'tenant')}" if detail.get("tenants") else ""
    canary = ", as a canary" if detail.get("canary") else ""
    return f"Started operation {detail.get('operation', '?')}: {what} {' and '.join(size)}{tenants}{canary}"


def _finished(detail: dict[str, Any]) -> str:
    skipped = f", {detail['skipped']:,} skipped" if detail.get("skipped") else ""
    how = {"done": "is done", "stopped": "stopped", "cancelled": "was cancelled"}.get(str(detail.get("state")), "ended")
    return f"Operation {detail.get('operation', '?')} {how}: {detail.get('done') or 0:,} done{skipped}"


def _cancelled(detail: dict[str, Any]) -> str:
    return f"Requested that operation {detail.get('operation', '?')} stops"


def _export(detail: dict[str, Any]) -> str:
    return f"Exported the data of tenant {detail.get('tenant', '?')}{_reference(detail)}"


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
    return f"Encrypted {counted(detail.get('texts') or 0, 'text')} with key {detail.get('key', '?')}"


def _reconcile(_detail: dict[str, Any]) -> str:
    return "Marked the job for a look-up before it is sent, after a restore of the ledger"


def _absent(_detail: dict[str, Any]) -> str:
    return "Confirmed that the job's case is not at the API, so it may be sent"


def _withdrew(detail: dict[str, Any]) -> str:
    jobs = counted(detail.get("jobs") or 0, "job")
    return f"Restored {jobs} that died while the API rejected all ({_verdict(detail)})"


def _accepted(detail: dict[str, Any]) -> str:
    return f"Let a verdict count as each job's own for a day ({_verdict(detail)})"


def _released(detail: dict[str, Any]) -> str:
    return f"Released the fleet from the brake ({_verdict(detail)})"


def _freed(detail: dict[str, Any]) -> str:
    return f"Released {counted(detail.get('jobs') or 0, 'held job')}"


def _verdict(detail: dict[str, Any]) -> str:
    return ": ".join(str(detail[name]) for name in ("reason", "message") if detail.get(name))


#: The description of each action, from the entry's detail.
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


def _generic(act: Act) -> str:
    """Describe an unknown action from its recorded details."""
    simple = {
        name: value
        for name, value in act.detail.items()
        if isinstance(value, str | int | float) and name not in {"door", "address", "os_user"}
    }
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in simple.items())
    return name_of(act.action) + (f": {facts}" if facts else "")
