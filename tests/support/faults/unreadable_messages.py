"""Unreadable messages as raw entries of a Redis list, as a broken or foreign sender may write them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

Change = Callable[[dict[str, Any]], object]


def envelope(body: Any, *changes: Change, task: str = "cases.accept", queue: str = "cases.intake") -> bytes:
    """What kombu puts on the list for a message of protocol 2, with these changes made to it."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    identity = str(uuid4())
    message: dict[str, Any] = {
        "body": base64.b64encode(text).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": task, "id": identity, "root_id": identity, "parent_id": None, "group": None,
            "shadow": None, "eta": None, "expires": None, "retries": 0, "timelimit": [None, None],
            "argsrepr": "()", "kwargsrepr": "{}", "origin": "elsewhere", "ignore_result": True,
        },
        "properties": {
            "correlation_id": identity, "reply_to": str(uuid4()), "delivery_mode": 2,
            "delivery_info": {"exchange": queue, "routing_key": queue}, "priority": 0,
            "body_encoding": "base64", "delivery_tag": str(uuid4()),
        },
    }  # fmt: skip
    for change in changes:
        change(message)
    return json.dumps(message).encode()


EMBED: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def accept(**fields: Any) -> list[Any]:
    """The body of a `cases.accept` with these keywords."""
    return [[], fields, EMBED]


def good(key: str) -> list[Any]:
    """A body that is taken."""
    case = {"currencyCode": "EUR", "amountToRecover": 5, "debtor": {"type": "Private", "name": key}}
    return accept(external_tenant_id="sender", case=case, idempotency_key=key)


def header(name: str, value: Any) -> Change:
    """Set one header."""
    return lambda message: message["headers"].__setitem__(name, value)


def without_header(name: str) -> Change:
    """Leave one header out."""
    return lambda message: message["headers"].pop(name)


def part(name: str, value: Any) -> Change:
    """Set one part of the envelope."""
    return lambda message: message.__setitem__(name, value)


def without(name: str) -> Change:
    """Leave one part of the envelope out."""
    return lambda message: message.pop(name)


def without_property(name: str) -> Change:
    """Leave one property out."""
    return lambda message: message["properties"].pop(name)


def unreadable() -> dict[str, bytes]:
    """Every kind, by name. Celery loses most of them; some kill a worker, and some the fleet, one worker at a time."""
    fine = good("never-taken")
    case = fine[1]["case"]
    return {
        # Entries that are no message at all.
        "not JSON": b"this is no message",
        "binary": bytes(range(256)),
        "nothing": b"",
        "truncated": envelope(fine)[:200],
        "null": b"null",
        "a list": b"[1, 2]",
        "a number": b"42",
        "an empty object": b"{}",
        # Envelopes that kombu cannot open.
        "bad base64": envelope(fine, part("body", "!!!")),
        "no body": envelope(fine, without("body")),
        "no headers": envelope(fine, without("headers")),
        "headers are a list": envelope(fine, part("headers", [])),
        "no properties": envelope(fine, without("properties")),
        "no delivery_tag": envelope(fine, without_property("delivery_tag")),
        "no delivery_info": envelope(fine, without_property("delivery_info")),
        # Bodies.
        "body is not JSON": envelope(b"{'single': 'quotes'}"),
        "body is not UTF-8": envelope(b"\xff\xfe\x00"),
        "body is a scalar": envelope(7),
        "body of two elements": envelope(fine[:2]),
        "args are an object": envelope([{}, fine[1], EMBED]),
        "kwargs are a list": envelope([[], [], EMBED]),
        "embed is text": envelope([[], fine[1], "nothing"]),
        "with callbacks": envelope([[], fine[1], EMBED | {"callbacks": [{"task": "cases.accept"}]}]),
        # Types and encodings.
        "content type of pickle": envelope(fine, part("content-type", "application/x-python-serialize")),
        "unknown content type": envelope(fine, part("content-type", "text/klingon")),
        "body in an unknown encoding": envelope(b"\x93\x96\x94", part("content-encoding", "klingon")),
        "unknown compression": envelope(fine, header("compression", "application/x-klingon")),
        # Headers.
        "unknown task": envelope(fine, task="cases.destroy"),
        "unknown task without id": envelope(fine, without_header("id"), task="cases.destroy"),
        "no task": envelope(fine, without_header("task")),
        "no id": envelope(fine, without_header("id")),
        "id is a number": envelope(fine, header("id", 12)),
        "nonsense timelimit": envelope(fine, header("timelimit", "soon")),
        "bad eta": envelope(fine, header("eta", "tomorrow")),
        "bad expires": envelope(fine, header("expires", "never")),
        "expired": envelope(fine, header("expires", "2020-01-01T00:00:00+00:00")),
        "with a countdown": envelope(fine, header("eta", "2099-01-01T00:00:00+00:00")),
        "protocol 1": json.dumps(
            {**json.loads(envelope({"task": "cases.accept", "id": "x", "args": [], "kwargs": {}})), "headers": {}}
        ).encode(),
        # Arguments.
        "positional arguments": envelope([["sender", case], {}, EMBED]),
        "unknown argument": envelope(accept(external_tenant_id="sender", case=case, urgent=True)),
        "no case": envelope(accept(external_tenant_id="sender")),
        "tenant is a number": envelope(accept(external_tenant_id=5, case=case)),
        "case is text": envelope(accept(external_tenant_id="sender", case="a case")),
        "case with NUL": envelope(accept(external_tenant_id="sender", case=case | {"comments": "a\x00b"})),
        "nonsense priority": envelope(accept(external_tenant_id="sender", case=case, priority="urgent")),
    }  # fmt: skip


def unreadable_submits() -> dict[str, bytes]:
    """The same for `cases.submit`, which only the dispatcher sends."""
    return {
        name: envelope(body, task="cases.submit", queue="cases.submit")
        for name, body in {
            "no job_ids": [[], {}, EMBED],
            "job_ids are text": [[], {"job_ids": "all"}, EMBED],
            "a job id that is none": [[], {"job_ids": ["42"]}, EMBED],
            "job ids are numbers": [[], {"job_ids": [1, 2]}, EMBED],
            "positional": [[["01a20bd9-50fb-7512-8eef-bd15a2ffd078"]], {}, EMBED],
            "something beside them": [[], {"job_ids": [], "force": True}, EMBED],
        }.items()
    }
