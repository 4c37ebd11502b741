"""Metrics of several processes, merged through a folder that lives as long as the worker."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from worker.telemetry.metrics import count, definitions, observe
from worker.telemetry.metrics.exposition import PREFIX, SharedFolder, render, shared
from worker.telemetry.metrics.registry import disable_metrics, enable_metrics, enable_shared_metrics, is_enabled


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    disable_metrics()
    yield
    disable_metrics()
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def shown(folder: Path) -> dict[tuple[str, ...], float]:
    return samples(render([shared(folder)], None)[0])


def as_a_child(folder: Path, place: str) -> None:
    """What a child does that has that place in the pool: the place is all that tells processes apart."""
    enable_shared_metrics(folder, lambda: place)
    count(definitions.MINTS, "minted", by=2)
    observe(definitions.API_REQUEST, 0.2, "POST /cases", "200")


def test_without_a_book_nothing_is_kept_and_nothing_fails() -> None:
    count(definitions.MINTS, "minted")
    observe(definitions.TICK, 1.0)
    assert not is_enabled()


def test_in_a_process_alone_all_is_in_its_memory() -> None:
    registry = enable_metrics()
    count(definitions.MINTS, "minted")
    assert enable_metrics() is registry
    text, kind = render([registry], None)
    assert samples(text)["case_worker_token_mints_total", "minted"] == 1
    assert samples(text)["case_worker_token_mints_total", "refused"] == 0, "what is known is there from the start"
    assert kind.startswith("text/plain; version=0.0.4")
    assert b"_created" not in text


def test_children_and_parent_are_summed_up_and_a_place_goes_on_counting(tmp_path: Path) -> None:
    enable_shared_metrics(tmp_path, lambda: "main")
    count(definitions.MINTS, "minted")
    as_a_child(tmp_path, "child0")
    files = sorted(file.name for file in tmp_path.iterdir())
    assert shown(tmp_path)["case_worker_token_mints_total", "minted"] == 3

    as_a_child(tmp_path, "child0")

    assert shown(tmp_path)["case_worker_token_mints_total", "minted"] == 5
    assert shown(tmp_path)["case_worker_api_request_seconds_count", "POST /cases", "200"] == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == files, "no file for each process that ever was"


def test_what_is_shared_keeps_its_help_and_type(tmp_path: Path) -> None:
    enable_shared_metrics(tmp_path, lambda: "main")
    observe(definitions.TICK, 0.02)
    text = render([shared(tmp_path)], None)[0].decode()
    assert f"# HELP {definitions.TICK.name} {definitions.TICK.help}\n# TYPE {definitions.TICK.name} histogram\n" in text


def test_whoever_asks_for_openmetrics_gets_it() -> None:
    text, kind = render([enable_metrics()], "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_a_folder_is_taken_away_by_its_worker_or_by_the_next_one(tmp_path: Path) -> None:
    first, left = SharedFolder(str(tmp_path)), SharedFolder(str(tmp_path))
    os.close(left._lock)  # as when its processes were killed
    (tmp_path / f"{PREFIX}just-made").mkdir()

    second = SharedFolder(str(tmp_path))

    assert first.path.exists(), "its worker lives"
    assert not left.path.exists()
    assert (tmp_path / f"{PREFIX}just-made").exists(), "its worker may not have come to lock it yet"
    first.remove()
    second.remove()
    assert not first.path.exists()


def test_a_folder_that_was_never_locked_is_taken_away_in_time(tmp_path: Path) -> None:
    old = tmp_path / f"{PREFIX}old"
    old.mkdir()
    os.utime(old, (1, 1))
    SharedFolder(str(tmp_path)).remove()
    assert not old.exists()


def test_the_lock_is_the_folder_s_own(tmp_path: Path) -> None:
    folder = SharedFolder(str(tmp_path))
    with (folder.path / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    folder.remove()
