"""A fresh sandbox for every test, on a loopback port, with a clock that only the test moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.sandbox_clock import Clock
from tests.support.sandbox_partner import Partner
from worker.sandbox.server import SandboxServer
from worker.sandbox.state import Settings

EXAMPLES = Path(__file__).parents[2] / "examples" / "cases.ndjson"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[SandboxServer]:
    with SandboxServer(Settings(clock=clock)) as server:
        yield server


@pytest.fixture
def partner(sandbox: SandboxServer) -> Iterator[Partner]:
    with Partner(sandbox.url) as partner:
        yield partner


@pytest.fixture(scope="session")
def examples() -> list[dict[str, Any]]:
    """The lines of examples/cases.ndjson."""
    return [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
