"""Keeping what could not be read: capped, as text, for a person to look at."""

from __future__ import annotations

from typing import Any

import simplejson

from worker.debitura.judge import clean

#: Characters of a message that are kept.
KEPT = 100_000


def as_sent(args: Any, fields: Any) -> str:
    """A task's arguments as they were sent, as JSON text, capped."""
    return capped(
        simplejson.dumps({"args": args, "kwargs": fields}, use_decimal=True, ensure_ascii=False, default=repr)
    )


def capped(raw: str | bytes) -> str:
    """Text that the ledger can keep, of at most KEPT characters."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    text = clean(text)
    return text if len(text) <= KEPT else f"{text[:KEPT]} … ({len(text)} characters in all)"
