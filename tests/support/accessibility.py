"""Whether a page is accessible, and whether everything on it fits."""

from __future__ import annotations

from collections.abc import Sequence

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDE = {"width": 1440, "height": 900}
#: What is wider than its place, and so is cut off or lies over its neighbour.
SPILLS = """[...document.querySelectorAll("main, main :not(input, textarea, .unseen, thead, thead *)")]
    .filter((one) => one.clientWidth && one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.outerHTML.slice(0, 200))"""


def complaints(page: Page, rules: Sequence[str] = RULES, *, colours: bool = True) -> list[str]:
    """Accessibility violations found by axe, one line each."""
    options = {"runOnly": list(rules), "rules": {} if colours else {"color-contrast": {"enabled": False}}}
    found = Axe().run(page, options=options)
    return [
        f"{page.url} {violation['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


def assert_it_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} scrolls sideways"
    assert page.evaluate(SPILLS) == [], page.url
