"""`make audit`: known vulnerabilities in what production installs, by pip-audit. Without the internet it is skipped."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROJECT = Path(__file__).parents[1]
LOCK = PROJECT / "requirements-otel.lock"


def main() -> int:
    """Returns 1 only for vulnerabilities that were found; whatever keeps it from looking is said, and is no failure."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        # Not pinned: an old auditor is a poor one, and it touches nothing of ours.
        got = _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "pip-audit>=2.9")
        if got.returncode:
            return _skipped("pip-audit cannot be had", got)
        done = _run(python, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-r", str(LOCK))
    if done.returncode == 0:
        sys.stdout.write(f"no known vulnerabilities in {LOCK.name}\n")
        return 0
    if "known vulnerabilit" in done.stderr:
        sys.stdout.write(done.stdout + done.stderr)
        return 1
    return _skipped("nobody could be asked", done)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def _skipped(why: str, done: subprocess.CompletedProcess[str]) -> int:
    last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
    sys.stdout.write(f"audit skipped: {why} ({last})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
