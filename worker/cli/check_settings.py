"""The doctor's findings, and its checks of the environment, one setting at a time, so that no error hides another."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.alerts.settings import NAMES as ALERTS
from worker.errors import SettingsError
from worker.fleet.settings import FleetSettings
from worker.report.webhooks.inbox import WEBHOOK_SECRET
from worker.settings import Settings

HEADER, ADDRESSES, ROLES = "REPORT_PROXY_USER_HEADER", "REPORT_PROXY_ADDRESSES", "REPORT_PROXY_ROLES"
REPORT = ("REPORT_USERS", "REPORT_SECRET_KEY", ADDRESSES, HEADER, ROLES)
LOG = "LOG_TENANT_KEY"
REQUIRED = ("DATABASE_URL", "REDIS_URL", "DEBITURA_API_KEY")
#: Their values are or contain secrets, so only whether they are set is shown.
SECRET = {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "DEBITURA_API_KEY", "CASE_ENCRYPTION_KEYS"}
#: Checked together, because the first must not exceed the second.
_RETRY = ("WORKER_RETRY_BASE_SECONDS", "WORKER_RETRY_MAX_SECONDS")
#: Settings that are read elsewhere.
_ELSEWHERE = {*REPORT, *ALERTS, LOG, WEBHOOK_SECRET, "WORKER_LIVENESS_FILE"}
_OURS = ("WORKER_", "DEBITURA_", "CASE_", "PURGE_", "REPORT_", "ALERT_", "LOG_TENANT")


class Verdict(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """It works, but may cause problems later."""
    FAILED = "FAILED"
    """Some or all functions don't work until this is fixed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report. Never contains a secret."""

    name: str
    verdict: Verdict
    message: str
    fix: str | None = None
    """How to fix it, if there is something to fix."""


class _Asked(Mapping[str, str]):
    """An empty environment that records the names it is asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.names.append(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def setting_names() -> list[str]:
    """The names of all settings, in the order in which they are read."""
    asked = _Asked()
    Settings.from_environment(asked)
    FleetSettings.from_environment(asked)
    return [name for name in dict.fromkeys(asked.names) if not name.endswith("_FILE")]


def check_settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for each setting, and one for each variable that only looks like a setting."""
    names = setting_names()
    for name in names:
        yield _check(name, environ)
    known = {*names, *_ELSEWHERE}
    known |= {f"{name}_FILE" for name in known}
    for name in sorted(environ):
        if name.startswith(_OURS) and name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean {near[0]}?" if near else "remove it, or correct its name"
            yield Finding(name, Verdict.WARNING, "is not a setting of this version", hint)


def _check(name: str, environ: Mapping[str, str]) -> Finding:
    together = _RETRY if name == _RETRY[1] else (name,)
    wanted = {variable for one in together for variable in (one, f"{one}_FILE")}
    alone = {variable: value for variable, value in environ.items() if variable in wanted}
    if name == _RETRY[0]:
        # Alone, it would be compared with the other's default.
        alone[_RETRY[1]] = "604800"
    given = any(environ.get(variable, "").strip() for variable in (name, f"{name}_FILE"))
    try:
        Settings.from_environment(alone, needs=(name,) if name in REQUIRED else ())
        FleetSettings.from_environment(alone)
    except SettingsError as error:
        problem = str(error)
        return Finding(
            name, Verdict.FAILED, "is wrong" if given or name not in REQUIRED else "is missing", f"{problem}."
        )
    if all(environ.get(variable, "").strip() for variable in (name, f"{name}_FILE")):
        return Finding(
            name, Verdict.WARNING, f"{name} and {name}_FILE are both set; the first is used", "Remove one of the two."
        )
    if not given and name == "CASE_ENCRYPTION_KEYS":
        fix = "Make a key with `case-worker make-key`, and see docs/personal-data.md for the order of steps."
        return Finding(name, Verdict.WARNING, "not set: cases are stored unencrypted", fix)
    if not given:
        return Finding(name, Verdict.OK, "not set, the default is used")
    value = environ.get(name, "").strip()
    shown = "set" if name in SECRET or "@" in value else value
    return Finding(name, Verdict.OK, shown or "set by a file")


def without(environ: Mapping[str, str], names: set[str]) -> dict[str, str]:
    """The environment without those settings, so that one bad setting does not prevent the server checks."""
    names = names | set(_RETRY) if names & set(_RETRY) else names
    return {variable: value for variable, value in environ.items() if variable.removesuffix("_FILE") not in names}
