"""The wheel, installed outside any checkout, is a working `case-worker`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from sqlalchemy.orm import Session

from tests.support.databases import Database
from tests.support.pipeline import a_case
from tests.support.sandbox_witness import Witness
from tests.support.until import until
from worker import enqueue_case
from worker.ledger import migrate

PROJECT = Path(__file__).parents[2]
Vars = dict[str, str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built as a deployment builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        capture_output=True, text=True, cwd=PROJECT, timeout=120, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return next(folder.glob("case_worker-*.whl"))


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel, and a working directory outside the checkout."""

    root: Path
    variables: Vars

    def command(self, name: str) -> str:
        return str(self.root / "env" / "bin" / name)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands to its end."""
        return subprocess.run(
            [self.command(command[0]), *command[1:]], env={"PATH": os.defpath, **self.variables},
            capture_output=True, text=True, cwd=self.root, timeout=60, check=False,
        )  # fmt: skip

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start one that goes on."""
        return subprocess.Popen(
            [self.command(command[0]), *command[1:]], env={"PATH": os.defpath, **self.variables}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.root,
        )  # fmt: skip


@pytest.fixture
def installed(wheel: Path, empty_database: Database, variables: Vars, tmp_path: Path) -> Installation:
    """The wheel in an environment of its own, which sees the pinned dependencies and not the checkout."""
    environment = tmp_path / "env"
    venv.create(environment, with_pip=False)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "-q", "--no-deps",
         "--no-index", "--disable-pip-version-check", "--no-compile", str(wheel)],
        check=True, timeout=60,
    )  # fmt: skip
    # As if they had been installed beside it. A .pth file in that folder, such as the checkout's, is not followed.
    packages = next((environment / "lib").glob("python3*/site-packages"))
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return Installation(tmp_path, variables | {"DATABASE_URL": empty_database.url})


def test_the_wheel_contains_everything_it_needs_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    def of(folder: str, pattern: str, inside: str) -> set[str]:
        return {f"{inside}/{path.name}" for path in (PROJECT / folder).glob(pattern)}

    assert of("migrations/versions", "*.py", "worker/migrations/versions") <= names
    assert of("worker/report/web/templates", "*", "worker/report/web/templates") <= names
    assert of("worker/report/web/static", "*", "worker/report/web/static") <= names
    assert {"worker/migrations/env.py", "worker/migrations/script.py.mako", "worker/py.typed"} <= names
    assert not [name for name in names if not name.startswith(("worker/", "case_worker-"))]
    assert not [name for name in names if "__pycache__" in name]


def test_an_installed_wheel_migrates_submits_and_serves_the_page(
    installed: Installation, empty_database: Database, sandbox: Witness
) -> None:
    # When it is used for the first time
    helped = installed.run("python", "-c", "import worker, worker.cli; print(worker.__file__); worker.cli.main(['-h'])")
    assert helped.stdout.startswith(str(installed.root)), helped.stdout + helped.stderr
    assert "Bring the database to the newest schema" in helped.stdout
    migrated = installed.run("case-worker", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    migrate.require_suitable(empty_database.engine)
    with Session(empty_database.engine) as session, session.begin():
        enqueue_case(external_tenant_id="acme", case=a_case(), session=session)

    # Then its worker submits the case, and its page shows what it should
    options = ("--without-gossip", "--without-mingle", "--concurrency", "1", "--loglevel", "ERROR")
    with (
        installed.start("python", "-m", "celery", "-A", "worker", "worker", *options) as worker,
        installed.start("case-worker", "web", "--port", "0") as web,
    ):
        try:
            assert web.stdout is not None
            address = web.stdout.readline().split()[4]
            page = requests.get(address, timeout=10)
            style = page.text.partition('rel="stylesheet" href="/')[2].partition('"')[0]
            assert (page.status_code, requests.get(f"{address}{style}", timeout=10).status_code) == (200, 200)
            assert requests.get(f"{address}readyz", timeout=10).text == "ready\n"
            state = "SELECT state FROM jobs"
            until("it is submitted", lambda: empty_database.rows(state) == [("submitted",)], within=40)
        finally:
            worker.terminate()
            web.terminate()
    assert len(sandbox.cases()) == 1
