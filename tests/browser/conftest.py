"""The page as people see it: a real browser on a real server, with a worker that does what is replayed."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import uvicorn
from local_servers import free_port
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.databases import Database
from tests.integration.pipeline import Pipeline
from worker.report.web import passwords
from worker.report.web.application import create_application
from worker.sandbox.server import SandboxServer
from worker.settings import Settings

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PASSWORD = "correct horse battery"
HASH = passwords.hash_password(PASSWORD)
USERS = f"olga:operator:{HASH} victor:viewer:{HASH}"
#: Milliseconds that a page gets for anything.
PATIENCE = 15_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("these tests were not run: there is no chromium on this machine (apt-get install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def shop(environment: dict[str, str], database: Database, sandbox_server: SandboxServer) -> Iterator[Pipeline]:
    """Where jobs come from, and the worker that a test sets to work."""
    sandbox_server.sandbox.reset()
    environment |= {"WORKER_MAX_ATTEMPTS": "2", "WORKER_REQUEST_TIMEOUT_SECONDS": "3"}
    with closing(Pipeline(Settings.from_environment(environment), database)) as pipeline:
        yield pipeline


@pytest.fixture
def worker(shop: Pipeline) -> Iterator[None]:
    """A dispatcher and worker that go on by themselves: what is replayed comes to its end."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            shop.run()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def address(environment: dict[str, str], database: Database) -> Iterator[str]:
    """The page, served; where it is."""
    port = free_port()
    environ = environment | {"REPORT_USERS": USERS}
    app = create_application(Settings.from_environment(environ), database.engine, environ)
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=1)
    )
    up = threading.Event()
    told = server.startup

    async def startup(sockets: list[object] | None = None) -> None:
        await told(sockets)  # type: ignore[arg-type]  # as uvicorn calls it
        up.set()

    server.startup = startup  # type: ignore[method-assign]  # the only way to be told, rather than to ask again and again
    thread = threading.Thread(target=server.run)
    thread.start()
    assert up.wait(20)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


class Witness:
    """Notes what must not happen in any page: errors, scripts that are refused or run, requests to elsewhere."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.seen: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.seen.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # A page that is refused is told to the console too, as what it is.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.seen.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._address, "blob:", "data:")):
            self.seen.append(f"request: {request.url}")


@pytest.fixture
def open_page(browser: Browser, address: str, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens pages that are signed in as somebody; keywords are the browser's (color_scheme, viewport)."""
    contexts: list[BrowserContext] = []
    witness = Witness(address)

    def opened(name: str | None = "olga", **settings: object) -> Page:
        context = browser.new_context(base_url=address, **settings)  # type: ignore[arg-type]  # passed on as they are
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        witness.watch(page)
        if name:
            page.goto("/login")
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("heading", name="Failures", level=1).wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert witness.seen == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """A page signed in as an operator."""
    return open_page()
