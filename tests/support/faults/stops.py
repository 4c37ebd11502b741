"""Arming the stop points that `tests.support.faults.stop_points` puts around each step of a job's way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.support.until import until

#: In the order in which a job comes past them. Those in a child, and those in a worker's dispatcher.
CHILD_POINTS = (
    "before_claim",
    "claim_uncommitted",
    "claimed",
    "before_mint",
    "minted",
    "before_request",
    "answer_begun",
    "answered",
    "before_record",
    "record_uncommitted",
    "recorded",
)
DISPATCHER_POINTS = ("release_uncommitted", "before_publish", "one_published", "published")
#: In a worker's main process, over a Redis list: the message is off the list, and nobody has looked at it yet.
TAKEN_POINT = "message_taken"
REFUSAL_POINTS = ("first_refused", "second_attempt_uncommitted")
ACCEPT_POINTS = ("accept_begun", "accept_uncommitted", "accept_committed")


@dataclass(frozen=True, slots=True)
class Stop:
    """What happens once at a point."""

    action: str
    """kill_child, kill_worker, freeze_child, freeze_worker, hang (that thread alone), or raise."""
    nth: int = 1
    """At the n-th time that one process reaches the point."""
    error: str = "ZeroDivisionError"
    """For `raise`: the exception's name."""
    times: int = 1
    """So many processes, one after another."""


class Stops:
    """The folder through which a test and its workers agree on what to stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def arm(self, point: str, stop: Stop) -> None:
        """Let the next process that reaches this point execute `stop`, and no other."""
        (self.folder / f"{point}.done").unlink(missing_ok=True)
        _write(self.folder / point, asdict(stop))

    def disarm(self, point: str) -> bool:
        """Disarm it. Returns False if it has happened already."""
        try:
            (self.folder / point).rename(self.folder / f"{point}.unused")
        except FileNotFoundError:
            return False
        return True

    def happened(self, point: str) -> int | None:
        """The id of the process that was stopped at that point; None until then."""
        try:
            return int(json.loads((self.folder / f"{point}.done").read_text())["pid"])
        except FileNotFoundError:
            return None

    def wait_for(self, point: str, *, within: float = 20) -> int:
        """Wait until it has happened, and return the process's id."""
        pid = until(f"a process is stopped at {point}", lambda: self.happened(point), within=within)
        assert pid is not None
        return pid


def take(folder: Path, point: str, passed: int) -> Stop | None:
    """In a worker: take the stop for a process that reaches the point the `passed`-th time. Only one gets it."""
    armed = folder / point
    try:
        stop = Stop(**json.loads(armed.read_text()))
        if passed < stop.nth:
            return None
        armed.rename(folder / f"{point}.taken")
    except FileNotFoundError:
        return None
    if stop.times > 1:
        _write(armed, asdict(replace(stop, times=stop.times - 1)))
    return stop


def tell(folder: Path, point: str, pid: int) -> None:
    """In a worker: report that the stop happens now."""
    _write(folder / f"{point}.done", {"pid": pid})


def _write(path: Path, content: dict[str, object]) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(content))
    draft.rename(path)
