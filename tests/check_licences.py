"""`python -m tests.check_licences`: docs/licences.md lists what the lock installs, with its licences. In `make lint`.

`--write` writes the list again (`make licences`). The licences are what the packages themselves say in their metadata.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

PROJECT = Path(__file__).parents[1]
#: All that a production may install, the extra included.
LOCK, LIST = PROJECT / "requirements-otel.lock", PROJECT / "docs" / "licences.md"
#: Only on some platforms or versions of Python, so their metadata is not always here; looked up by hand.
ELSEWHERE = {"async-timeout": "Apache-2.0", "colorama": "BSD-3-Clause", "tzdata": "Apache-2.0"}
HEAD = """# Licences of what is installed

Made by `make licences` from `requirements-otel.lock`, which holds everything that a production installs; `make lint`
checks that the two agree. The licences are what the packages' own metadata says.

| package | version | licence |
|---|---|---|
"""


def locked() -> Iterator[tuple[str, str]]:
    """The name and version of every package in the lock."""
    for line in LOCK.read_text().splitlines():
        if found := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", line):
            yield found[1], found[2]


def licence(name: str) -> str:
    """What the package says of its licence, in one line."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return "not known here"
    if expression := said.get("License-Expression"):
        return expression
    classifiers = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier") or () if c.startswith("License :: ")]
    text = (said.get("License") or "").strip().splitlines()
    return " / ".join(classifiers) or (text[0][:80] if text else "not stated")


def listing() -> str:
    """The whole document."""
    return HEAD + "".join(f"| {name} | {version} | {licence(name)} |\n" for name, version in sorted(locked()))


def main() -> int:
    """Check, or write with --write. Returns the exit code."""
    wanted = listing()
    unknown = re.findall(r"\| (\S+) \| \S+ \| not (?:known here|stated) \|", wanted)
    if unknown:
        sys.stdout.write(f"no licence is known of {', '.join(unknown)}: look it up and name it in {__file__}\n")
        return 1
    if "--write" in sys.argv[1:]:
        LIST.write_text(wanted)
    if not LIST.exists() or LIST.read_text() != wanted:
        sys.stdout.write("docs/licences.md is not what the lock installs: make licences\n")
        return 1
    sys.stdout.write(f"docs/licences.md agrees with {LOCK.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
