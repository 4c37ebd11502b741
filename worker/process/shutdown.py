"""Whether this worker has been told to stop: known to the parent process and, at once, to its children.

One number in memory that is shared over the fork: the moment (of the system-wide monotonic clock) at which the parent
began its shutdown. A child that gets a signal of its own keeps that to itself.
"""

from __future__ import annotations

import mmap
import struct
import time

_shared = mmap.mmap(-1, 8)
_own: list[float] = []


def tell_all() -> None:
    """In the parent: the worker shuts down. Its children know it with the next look."""
    if seconds() is None:
        _shared[:] = struct.pack("d", time.monotonic())


def tell_this_process() -> None:
    """In a child: this process is to go."""
    _own[:] = _own or [time.monotonic()]


def told_alone() -> bool:
    """Whether this process got a signal of its own."""
    return bool(_own)


def seconds() -> float | None:
    """How many seconds ago this process was told to stop; None if it was not."""
    told: float = struct.unpack("d", _shared[:])[0] or (_own[0] if _own else 0.0)
    return time.monotonic() - told if told else None


def forget() -> None:
    """Begin again: for a worker that is started again in the same process."""
    _shared[:] = bytes(8)
    _own.clear()
