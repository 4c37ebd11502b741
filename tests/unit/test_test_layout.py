"""Tests don't import each other; shared set-up is in tests/support."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
TEST_FILES = {path.stem for path in TESTS.rglob("*.py") if path.name.startswith("test_")} | {"conftest"}


def imports(path: Path) -> set[str]:
    """The last part of every module or name that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.name.rpartition(".")[2] for name in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module).rpartition(".")[2])
    return found


def test_no_file_imports_a_test_file() -> None:
    importing = {
        f"{path.relative_to(TESTS)} imports {name}"
        for path in TESTS.rglob("*.py")
        for name in imports(path) & TEST_FILES
    }

    assert importing == set(), "move what they share to tests/support"
