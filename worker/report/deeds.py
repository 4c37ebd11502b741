"""The entries of the audit log in words. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worker.ledger.queries.audit import Act
from worker.report.wording import counted

#: Each action's name, for menus.
NAMES = {
    "replay": "Replayed a job",
    "discard": "Gave up a job or message",
    "edit": "Corrected a case",
    "reveal": "Looked at personal data",
    "operation_started": "Started an operation",
    "operation_finished": "An operation ended",
    "operation_cancelled": "Asked for a stop",
}
_KEYS = {"renewed": "under a new submission key", "kept": "under the same key, its outcome being unknown"}


def name_of(action: str) -> str:
    """The action's name; one that is not known here is called by its own."""
    return NAMES.get(action) or action.replace("_", " ").capitalize()


def in_words(act: Act) -> str:
    """What was done, as a sentence without its subject and full stop: `Replayed the job under a new submission key`."""
    known = _SENTENCES.get(act.action)
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


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "replay": _replay,
    "discard": _discard,
    "edit": _edit,
    "reveal": _reveal,
    "operation_started": _started,
    "operation_finished": _finished,
    "operation_cancelled": _cancelled,
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
