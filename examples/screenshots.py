"""`python examples/screenshots.py FOLDER`: the README's two pictures of the report, made from the demo's data.

Needs Chromium on this machine, and the development dependencies. Everything that is started is stopped again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from demo import CASES, SETTINGS, await_ends
from local_servers import free_port
from local_stack import LocalStack
from playwright.sync_api import Page, sync_playwright
from processes import StopSignals, program

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def take(page: Page, url: str, folder: Path) -> None:
    """The front page in light, and the job of an invalid client link in dark."""
    page.goto(url)
    page.screenshot(path=folder / "report-failures.png")
    page.emulate_media(color_scheme="dark")
    page.goto(f"{url}links")
    page.get_by_role("link", name="invalid-rosenhof").first.click()
    page.locator("tbody tr td a").first.click()
    page.screenshot(path=folder / "report-job.png")


def main() -> int:
    """Make the pictures. Returns the exit code."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    folder.mkdir(exist_ok=True)
    with StopSignals() as signals, LocalStack(signals, settings=SETTINGS) as stack:
        stack.migrate()
        worker = stack.start_worker()
        stack.run("case-worker enqueue", [program("case-worker"), "enqueue", CASES])
        await_ends(stack, worker, signals)
        port = free_port()
        web = stack.start("case-worker web", [program("case-worker"), "web", "--port", str(port)])
        url = f"http://127.0.0.1:{port}/"
        stack.await_words(web, url)
        with sync_playwright() as browsers:
            browser = browsers.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
            take(page, url, folder)
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
