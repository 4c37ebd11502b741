# Everything runs from .venv, which the first target that needs it makes. Needed before: Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# Tests start hundreds of worker processes: without bytecode each would compile the project again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo page test unit lint audit licences bench faults dev pictures lock format clean

demo: $(STAMP)
	@$(BIN)/python examples/demo.py

page: $(STAMP)
	@$(BIN)/python examples/demo.py --page

dev: $(STAMP)
	@$(BIN)/python examples/demo.py --keep

test: $(STAMP)
	@$(BIN)/python -m pytest

unit: $(STAMP)
	@$(BIN)/python -m pytest tests/unit

bench: $(STAMP)
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.pace
	@$(BIN)/python -m tests.bench.report

faults: $(STAMP)
	@$(BIN)/python -m tests.faults --minutes 10

pictures: $(STAMP)
	@$(BIN)/python examples/screenshots.py docs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.check_schema
	$(BIN)/python -m tests.check_compose
	$(BIN)/python -m tests.check_licences

# Known vulnerabilities in what production installs. It asks the internet, so it is no part of lint; without an answer it
# says that it was skipped.
audit: $(STAMP)
	@$(BIN)/python -m tests.audit

licences: $(STAMP)
	@$(BIN)/python -m tests.check_licences --write

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock:
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --extra otel pyproject.toml -o requirements-otel.lock
	$(LOCK) --extra dev pyproject.toml -o requirements-dev.lock
	$(LOCK) --group build -o requirements-build.lock

$(STAMP): requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "missing: $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "missing: Python 3.11 or newer ($(PYTHON) is older). Name a newer one: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the pinned dependencies into .venv ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis
