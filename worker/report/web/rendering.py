"""Templates, how values become text in them, and which values of a case are masked.

Everything is escaped; foreign text is also made harmless to read.
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
from worker.report.web.words import FAMILIES, STATES, TITLES, title

#: Characters of a foreign text that a list shows; the job's page has all of it.
SHORT = 280


class Renderer:
    """Makes pages."""

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
        """The page's HTML."""
        return self._templates.get_template(template).render({"now": datetime.now(UTC), **facts})


def static_files() -> dict[str, bytes]:
    """What is served under /static/."""
    return {entry.name: entry.read_bytes() for entry in files("worker.report.web").joinpath("static").iterdir()}


#: A file's address changes with what is in it, so that browsers may keep it for ever.
_MARKS = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in static_files().items()}


def static_url(name: str) -> str:
    """Where a file of ours is."""
    return f"/static/{_MARKS[name]}/{name}"


def is_static(mark: str, name: str) -> bool:
    """Whether that address is of the file as it is now."""
    return _MARKS.get(name) == mark


def foreign(text: object, longest: int | None = None) -> Markup:
    """Somebody else's text: one line, no control or direction characters, set apart from its surroundings."""
    line = one_line(str(text))
    if longest is not None and len(line) > longest:
        line = line[:longest].rstrip() + " …"
    return Markup('<bdi class="foreign">{}</bdi>').format(line)


def short(text: object) -> Markup:
    """The beginning of somebody else's text."""
    return foreign(text, SHORT)


def amount(value: Decimal | str) -> str:
    """An amount with separators, to the digit: 18,750.00."""
    whole, _, fraction = formatting.number(Decimal(value)).partition(".")
    return f"{int(whole):,}.{fraction}" if whole not in {"-0", ""} else f"{whole}.{fraction}"


def grouped(count: int) -> str:
    """A number with separators: 12,345."""
    return f"{count:,}"


def ago(at: datetime | None) -> Markup | str:
    """How long ago, with the exact moment for those who want it."""
    if at is None:
        return "never"
    seconds = (datetime.now(UTC) - at).total_seconds()
    words = "just now" if seconds < 5 else f"{_coarse(seconds)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), formatting.moment(at), words)


def moment(at: datetime) -> Markup:
    """A moment in UTC."""
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), formatting.moment(at))


def clock(at: datetime) -> Markup:
    """A moment's time of day in UTC, the date being told elsewhere."""
    shown = at.astimezone(UTC).strftime("%H:%M:%S")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), shown)


def day(at: datetime) -> str:
    """A moment's date in UTC."""
    return f"{at.astimezone(UTC):%A, %-d %B %Y}"


def age(seconds: float) -> str:
    """A duration in its largest unit: 3 d, 4 h, 12 min."""
    return _coarse(seconds)


def link(url: object, words: str | None = None) -> Markup:
    """An http(s) address as a link that tells the other side nothing of us; anything else only as text."""
    text = one_line(str(url))
    if not is_web_address(str(url)):
        return foreign(text, SHORT)
    shown = words or (text if len(text) <= 80 else text[:80] + " …")
    return Markup(
        '<a class="out" href="{}" target="_blank" rel="noopener noreferrer">{}<span class="unseen"> (opens a new tab)'
        "</span></a>"
    ).format(text, shown)


def is_web_address(url: str) -> bool:
    """Whether a link to it may be made: http or https, with a host, and nothing odd in it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    plain = url.isprintable() and not any(sign in url for sign in " \\\"'<>`")
    return parts.scheme in {"http", "https"} and bool(host) and plain and not parts.username and len(url) <= 2048


def query_of(**parts: object) -> str:
    """A query from the parts that are not empty, with its question mark; empty without any."""
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
    "foreign": foreign,
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
    """One value of a case, or what stands for it."""

    path: str
    value: str | None
    """None: it is hidden."""


@dataclass(frozen=True, slots=True)
class ShownChange:
    """One place where two wordings differ; what is hidden, or not there, is None."""

    path: str
    hidden: bool
    old: str | None
    new: str | None


def shown_case(case: Any, *, revealed: bool) -> list[Shown]:
    """Every value of a case, those that may not be seen left out."""
    return [
        Shown(path, as_text(value) if revealed or is_harmless(path, value) else None) for path, value in leaves(case)
    ]


def shown_change(change: Change, *, revealed: bool) -> ShownChange:
    """Where two wordings differ, and how, as far as it may be seen."""
    seen = all(side is MISSING or is_harmless(change.path, side) for side in (change.old, change.new))
    if not revealed and not seen:
        return ShownChange(change.path, hidden=True, old=None, new=None)
    return ShownChange(change.path, hidden=False, old=_side(change.old), new=_side(change.new))


def _side(value: Any) -> str | None:
    if value is MISSING:
        return None
    return as_text(value) if not isinstance(value, dict | list) else ", ".join(as_text(v) for _, v in leaves(value))
