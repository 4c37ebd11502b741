"""Bar charts as SVG, drawn here: no script, no style attribute, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from worker.report.formatting import span

#: In units of the drawing, which is stretched to the width that there is.
HEIGHT, STEP, BAR = 44, 10, 7
#: A bar for few failures beside one for many can still be seen.
LOWEST = 3


def bars(counts: Sequence[int], *, start: datetime, width: timedelta, peak: int | None = None) -> Markup:
    """How many there were in each span of time, oldest first. The drawing says the same in words."""
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
    """The chart for those who do not see it."""
    total = sum(counts)
    if not total:
        return "No failures in this time"
    most = max(range(len(counts)), key=lambda place: counts[place])
    noun = "failure" if total == 1 else "failures"
    when = (start + most * width).strftime("%Y-%m-%d %H:%M")
    return (
        f"{total:,} {noun} in {span((width * len(counts)).total_seconds())}; most, {counts[most]:,},"
        f" in the {span(width.total_seconds())} from {when} UTC"
    )
