"""Fixtures for the page in a real browser: a served page, and a worker that carries out replays."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from worker.report.web import passwords
from worker.report.web.application import create_application
from worker.report.web.security_middleware import SecurityMiddleware
from worker.report.web.sessions import Sessions, cookie_name
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
#: Milliseconds that a page gets for anything: more than one that is without script takes to be loaded again.
PATIENCE = 15_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("these tests were not run: there is no chromium on this machine (apt-get install chromium)")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def shop(environment: dict[str, str], database: Database, sandbox_server: SandboxServer) -> Iterator[Pipeline]:
    """The worker that makes and runs a test's jobs."""
    sandbox_server.sandbox.reset()
    environment |= {"WORKER_MAX_ATTEMPTS": "2", "WORKER_REQUEST_TIMEOUT_SECONDS": "3"}
    with closing(Pipeline(Settings.from_environment(environment), database)) as pipeline:
        yield pipeline


@pytest.fixture
def set_to_work(shop: Pipeline) -> Iterator[Callable[[], None]]:
    """Start a dispatcher and worker in the background, so that replayed jobs run to their end."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            shop.run()

    thread = threading.Thread(target=work)
    yield thread.start
    stop.set()
    if thread.is_alive():
        thread.join()


@pytest.fixture
def report(environment: dict[str, str], database: Database) -> SecurityMiddleware:
    """The page as an application."""
    environ = environment | {"REPORT_USERS": USERS}
    return create_application(Settings.from_environment(environ), database.engine, environ)


@pytest.fixture
def address(report: SecurityMiddleware) -> Iterator[str]:
    """The URL of the running page."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(report, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    # Whoever asks before it has started waits in the listener's queue.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


class Witness:
    """Record what must not happen on any page: errors, blocked scripts, dialogs, requests to other hosts."""

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
def open_page(browser: Browser, report: SecurityMiddleware, address: str) -> Iterator[Callable[..., Page]]:
    """Open pages as a signed-in user; keywords go to the browser (color_scheme, viewport)."""
    contexts: list[BrowserContext] = []
    witness = Witness(address)
    sessions = Sessions(report.settings.secret_key)

    def opened(name: str | None = "olga", **settings: object) -> Page:
        context = browser.new_context(base_url=address, **settings)  # type: ignore[arg-type]  # passed on as they are
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        if name:
            # Signing in by the form has a test of its own.
            value = sessions.write(sessions.signed_in(report.settings.users[name]))
            context.add_cookies([{"name": cookie_name(secure=False), "value": value, "url": address}])
        page = context.new_page()
        witness.watch(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert witness.seen == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """A page signed in as an operator."""
    return open_page()
