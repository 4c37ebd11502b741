"""`python examples/screenshots.py FOLDER`: the README's two pictures of the report, made from the demo's data.

Needs Chromium on this machine, and the development dependencies. Everything that is started is stopped again.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from demo import SETTINGS, enqueue_and_await, serve_page
from local_stack import LocalStack
from playwright.sync_api import Page, ViewportSize, sync_playwright
from processes import StopSignals

from worker.report.web.passwords import hash_password

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


#: Who is in the pictures.
NAME, PASSWORD = "anna", "only for the pictures"
#: What the pictures are scaled to: sharp enough beside text, and small in the repository.
SIZE = ViewportSize(width=1280, height=860)


def take(page: Page, url: str, folder: Path) -> None:
    """The front page in light, and the job of an invalid client link in dark."""
    page.goto(url)
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Failures", level=1).wait_for()
    page.screenshot(path=folder / "report-failures.png")
    page.emulate_media(color_scheme="dark")
    page.goto(f"{url}links")
    page.get_by_role("link", name="invalid-rosenhof").first.click()
    page.locator("tbody tr td a").first.click()
    page.get_by_role("heading", name="Timeline").wait_for()
    page.screenshot(path=folder / "report-job.png")


def main() -> int:
    """Make the pictures. Returns the exit code."""
    if CHROMIUM is None:
        sys.stderr.write("there is no chromium on this machine: apt-get install chromium\n")
        return 2
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    folder.mkdir(exist_ok=True)
    with StopSignals() as signals, LocalStack(signals, settings=SETTINGS) as stack:
        stack.migrate()
        enqueue_and_await(stack, stack.start_worker(), signals)
        url = serve_page(stack, REPORT_USERS=f"{NAME}:operator:{hash_password(PASSWORD)}")
        with sync_playwright() as browsers:
            browser = browsers.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            take(browser.new_page(viewport=SIZE, color_scheme="light"), url, folder)
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
