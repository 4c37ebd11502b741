"""Render templates: filters that format values, and masking of a case's personal data.

Everything is escaped; untrusted text is also made safe to display.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from worker.case.fields import as_text, is_harmless, leaves, one_line
from worker.report import formatting
from worker.report.edit import MISSING, Change
from worker.report.web.labels import FAMILIES, STATES, TITLES, title

#: Characters of an untrusted text in a list; the job's page shows all of it.
SHORT = 280


class Renderer:
    """Renders pages."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("worker.report.web"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= FILTERS
        self._templates.globals |= {
            "static": static_url, "titles": TITLES, "title_of": title, "families": FAMILIES, "states": STATES,
            "query": query_of,
        }  # fmt: skip

    def render(self, template: str, facts: Mapping[str, Any]) -> str:
        """Render the page's HTML."""
        return self._templates.get_template(template).render({"now": datetime.now(UTC), **facts})


def static_files() -> dict[str, bytes]:
    """The files served under /static/, by name."""
    return {entry.name: entry.read_bytes() for entry in files("worker.report.web").joinpath("static").iterdir()}


#: A file's address contains a hash of its content, so that browsers may cache it forever.
_MARKS = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in static_files().items()}


def static_url(name: str) -> str:
    """The address of a static file."""
    return f"/static/{_MARKS[name]}/{name}"


def is_static(mark: str, name: str) -> bool:
    """Whether the address belongs to the current version of the file."""
    return _MARKS.get(name) == mark


def untrusted(text: object, longest: int | None = None) -> Markup:
    """Untrusted text: one line, no control or direction characters, isolated from the text around it."""
    line = one_line(str(text))
    if longest is not None and len(line) > longest:
        line = line[:longest].rstrip() + " …"
    return Markup('<bdi class="foreign">{}</bdi>').format(line)


def short(text: object) -> Markup:
    """The beginning of an untrusted text."""
    return untrusted(text, SHORT)


def amount(value: Decimal | str) -> str:
    """An exact amount with separators: 18,750.00."""
    whole, _, fraction = formatting.number(Decimal(value)).partition(".")
    return f"{int(whole):,}.{fraction}" if whole not in {"-0", ""} else f"{whole}.{fraction}"


def grouped(count: int) -> str:
    """A number with separators: 12,345."""
    return f"{count:,}"


def ago(at: datetime | None) -> Markup | str:
    """How long ago, with the exact time in the tooltip."""
    if at is None:
        return "never"
    seconds = (datetime.now(UTC) - at).total_seconds()
    words = "just now" if seconds < 5 else f"{_coarse(seconds)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), formatting.moment(at), words)


def moment(at: datetime) -> Markup:
    """A date and time in UTC."""
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), formatting.moment(at))


def clock(at: datetime) -> Markup:
    """The time of day in UTC, where the date is shown elsewhere."""
    shown = at.astimezone(UTC).strftime("%H:%M:%S")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), shown)


def day(at: datetime) -> str:
    """The date in UTC."""
    return f"{at.astimezone(UTC):%A, %-d %B %Y}"


def age(seconds: float) -> str:
    """A duration in its largest unit: 3 d, 4 h, 12 min."""
    return _coarse(seconds)


def link(url: object, text: str | None = None) -> Markup:
    """An http(s) address as a link without a referrer; anything else as text."""
    address = one_line(str(url))
    if not is_web_address(str(url)):
        return untrusted(address, SHORT)
    shown = text or (address if len(address) <= 80 else address[:80] + " …")
    return Markup(
        '<a class="out" href="{}" target="_blank" rel="noopener noreferrer">{}<span class="unseen"> (opens a new tab)'
        "</span></a>"
    ).format(address, shown)


def is_web_address(url: str) -> bool:
    """Whether it is safe to link to: http or https, with a host, and without unusual characters."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    plain = url.isprintable() and not any(sign in url for sign in " \\\"'<>`")
    return parts.scheme in {"http", "https"} and bool(host) and plain and not parts.username and len(url) <= 2048


def query_of(**parts: object) -> str:
    """A query string of the non-empty parts, with its question mark; empty without any."""
    text = urlencode({name: str(value) for name, value in parts.items() if value not in (None, "", False)})
    return f"?{text}" if text else ""


def pretty(value: object) -> str:
    """Data as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _coarse(seconds: float) -> str:
    for size, name in (*formatting.UNITS, (1, "s")):
        if seconds >= size:
            return f"{int(seconds // size):,} {name}"
    return "0 s"


FILTERS = {
    "untrusted": untrusted,
    "short": short,
    "amount": amount,
    "grouped": grouped,
    "ago": ago,
    "moment": moment,
    "clock": clock,
    "day": day,
    "age": age,
    "link": link,
    "counted": formatting.counted,
    "pretty": pretty,
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One value of a case, or a placeholder."""

    path: str
    value: str | None
    """None if it is hidden."""


@dataclass(frozen=True, slots=True)
class ShownChange:
    """One difference between two versions of a case; None if hidden or missing."""

    path: str
    hidden: bool
    old: str | None
    new: str | None


def shown_case(case: Any, *, revealed: bool) -> list[Shown]:
    """Every value of a case; without `revealed`, personal data is hidden."""
    return [
        Shown(path, as_text(value) if revealed or is_harmless(path, value) else None) for path, value in leaves(case)
    ]


def shown_change(change: Change, *, revealed: bool) -> ShownChange:
    """A difference between two versions; without `revealed`, personal data is hidden."""
    seen = all(side is MISSING or is_harmless(change.path, side) for side in (change.old, change.new))
    if not revealed and not seen:
        return ShownChange(change.path, hidden=True, old=None, new=None)
    return ShownChange(change.path, hidden=False, old=_side(change.old), new=_side(change.new))


def _side(value: Any) -> str | None:
    if value is MISSING:
        return None
    return as_text(value) if not isinstance(value, dict | list) else ", ".join(as_text(v) for _, v in leaves(value))
