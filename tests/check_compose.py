"""`python -m tests.check_compose`: docker-compose.yml is what the compose specification says. Part of `make lint`.

The schema is the specification's own, as the package check-jsonschema ships it. What no schema can say is checked
besides: that names refer to something, that nothing listens beyond loopback, and that every service says how it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for

COMPOSE = Path(__file__).parent.parent / "docker-compose.yml"


def by_schema(document: Any) -> Iterator[str]:
    """Where the document breaks the compose specification's JSON schema."""
    schema = get_builtin_schema("vendor.compose-spec")
    validator = validator_for(schema)
    validator.check_schema(schema)
    for error in validator(schema).iter_errors(document):
        yield f"{error.json_path}: {error.message}"


def by_rule(document: dict[str, Any]) -> Iterator[str]:
    """What the schema allows and we do not."""
    services: dict[str, dict[str, Any]] = document["services"]
    for name, service in services.items():
        where = f"$.services.{name}"
        mode = service.get("network_mode", "").removeprefix("service:")
        for other in {*service.get("depends_on", {}), *([mode] if mode else [])} - services.keys():
            yield f"{where}: refers to a service {other!r} that is not there"
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{where}.ports: {port} listens beyond loopback; begin it with 127.0.0.1:"
        if "healthcheck" not in service:
            yield f"{where}: says nothing of its health (healthcheck; one that ends by itself disables it)"
        for volume in service.get("volumes", []):
            if (source := volume.partition(":")[0]) not in document.get("volumes", {}):
                yield f"{where}.volumes: {source} is not among the volumes"
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_started":
                yield f"{where}.depends_on.{other}: started is not ready; wait for service_healthy"


def main() -> int:
    """Print what is wrong. Returns the exit code."""
    document = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    problems = list(by_schema(document)) or list(by_rule(document))
    for problem in problems:
        sys.stdout.write(f"- {COMPOSE.name}: {problem}\n")
    sys.stdout.write(f"{COMPOSE.name}: {len(problems) or 'no'} problems by the compose specification and our rules\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
