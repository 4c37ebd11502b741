"""Run `case-worker` as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from worker.cli import main

PROGRAM = Path(sys.executable).parent / "case-worker"


def run(variables: dict[str, str], *arguments: object, stdin: str | bytes | None = None) -> Result:
    """Run the command in this process. Exceptions other than an exit propagate."""
    return CliRunner(env=variables).invoke(main, [str(a) for a in arguments], input=stdin, catch_exceptions=False)


def program(
    variables: dict[str, str], *arguments: object, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a process, with its output in pipes."""
    return subprocess.run(
        [PROGRAM, *(str(a) for a in arguments)],
        env={"PATH": os.environ["PATH"], **variables},
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def line(case: dict[str, Any], tenant: str = "acme", **more: Any) -> str:
    """One line of NDJSON."""
    return json.dumps({"externalTenantId": tenant, "case": case, **more}, ensure_ascii=False)
