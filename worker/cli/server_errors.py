"""Describe why PostgreSQL, Redis or a broker can't be used.

The driver's own message is never shown: if a password contains an unescaped `@` or `/`, the message shows part of the
password as the host or port.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from worker.ledger.database import is_passing

# The first phrase found in the driver's message decides.
_PHRASES = (
    ("refused", "the connection was refused: is it running, and are host and port right"),
    ("does not support ssl", "it does not offer TLS, but the URL requires it"),
    ("certificate", "its TLS certificate was rejected"),
    ("ssl", "the TLS connection failed"),
    ("password authentication failed", "the password was rejected"),
    ("no password supplied", "it requires a password, but the URL has none"),
    ("no pg_hba.conf entry", "it does not allow this user to connect from this machine"),
    ("wrongpass", "the password was rejected"),
    ("invalid username-password", "the password was rejected"),
    ("noauth", "it requires a password, but the URL has none"),
    ("authentication required", "it requires a password, but the URL has none"),
    ("access_refused", "the user or password was rejected"),
    ("noperm", "this user lacks permission"),
    ("permission denied", "this user lacks permission"),
    ("role ", "there is no such user"),
    ("does not exist", "there is no such database on that server"),
    ("port could not be cast", "its URL cannot be read: in a password, write @ / : # as %40 %2F %3A %23"),
    ("port out of range", "its port is out of range"),
    ("too many", "it has too many connections"),
    ("starting up", "it is still starting up"),
    ("invalid connection option", "the URL has an option that PostgreSQL does not know"),
    ("resolve", "its host name cannot be resolved"),
    ("name or service not known", "its host name cannot be resolved"),
    ("nodename nor servname", "its host name cannot be resolved"),
    ("timeout", "it did not respond before the timeout"),
    ("timed out", "it did not respond before the timeout"),
    ("no such file", "there is no such socket"),
    ("unreachable", "the network cannot reach it"),
    ("db index", "it has no database with that number"),
    ("read only", "it is a read-only replica"),
    ("readonly", "it is a read-only replica"),
    ("oom", "its memory is full"),
    ("closed", "it closed the connection: is it the right kind of server"),
)


def describe(error: BaseException) -> str:
    """Say in one clause why a server can't be used; falls back to the error's class name."""
    text = f"{type(error).__name__} {error}".lower()
    return next((reason for phrase, reason in _PHRASES if phrase in text), f"it raised {type(error).__name__}")


def describe_database_error(error: DBAPIError) -> str:
    """Say in one line why the database can't be used."""
    state = getattr(error.orig, "sqlstate", None)
    if state in {"55P03", "40P01"}:
        return "another session holds a lock on the same rows or tables; nothing was changed: try again in a moment"
    if state == "57014":
        return (
            "the database cancelled a statement that took too long; nothing was changed: try again, or check its load"
        )
    if state in {"42P01", "42703"}:
        return "the database lacks a required table or column: run `case-worker migrate`"
    cause = error.orig or error
    if state is None or is_passing(error) or state[:2] in {"28", "3D", "42"}:
        return f"the database of DATABASE_URL cannot be used: {describe(cause)} (case-worker doctor shows more)"
    return f"the database rejected a statement ({type(cause).__name__}, SQLSTATE {state})"
