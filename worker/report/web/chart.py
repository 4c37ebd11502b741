"""Bar charts as SVG, without scripts, style attributes or external files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from worker.report.formatting import span

#: In drawing units; the browser stretches the chart to the available width.
HEIGHT, STEP, BAR = 44, 10, 7
#: Minimum height, so that a small bar beside a large one stays visible.
LOWEST = 3


def bars(counts: Sequence[int], *, start: datetime, width: timedelta, peak: int | None = None) -> Markup:
    """A bar chart of counts per time span, oldest first, with a text alternative."""
    highest = max(peak or 0, *counts, 1)
    parts = [Markup('<rect class="ground" x="0" y="{}" width="{}" height="1"/>').format(HEIGHT - 1, len(counts) * STEP)]
    for place, count in enumerate(counts):
        if count:
            tall = max(LOWEST, round(count / highest * (HEIGHT - 4)))
            parts.append(
                Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="1.5"/>').format(
                    place * STEP + (STEP - BAR) // 2, HEIGHT - 1 - tall, BAR, tall
                )
            )
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(len(counts) * STEP, HEIGHT, describe(counts, start, width), Markup("").join(parts))


def describe(counts: Sequence[int], start: datetime, width: timedelta) -> str:
    """The chart's text alternative."""
    total = sum(counts)
    if not total:
        return "No failures in this period"
    most = max(range(len(counts)), key=lambda place: counts[place])
    noun = "failure" if total == 1 else "failures"
    when = (start + most * width).strftime("%Y-%m-%d %H:%M")
    return (
        f"{total:,} {noun} in {span((width * len(counts)).total_seconds())}; most, {counts[most]:,},"
        f" in the {span(width.total_seconds())} from {when} UTC"
    )
