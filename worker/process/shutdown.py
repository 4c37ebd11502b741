"""The worker's shutdown request, shared by the parent process and its children.

It is one number in memory shared across the fork: the monotonic time at which the parent began its shutdown. A child
that gets its own signal records it only for itself.
"""

from __future__ import annotations

import mmap
import struct
import time

_shared = mmap.mmap(-1, 8)
_own: list[float] = []


def request_for_all() -> None:
    """Request the shutdown of the whole worker; its children see it at their next check."""
    if seconds() is None:
        _shared[:] = struct.pack("d", time.monotonic())


def request_for_this_process() -> None:
    """Request the shutdown of this child process only."""
    _own[:] = _own or [time.monotonic()]


def requested_for_this_process() -> bool:
    """Whether this process got its own signal."""
    return bool(_own)


def seconds() -> float | None:
    """Seconds since the shutdown of this process was requested, or None."""
    requested_at: float = struct.unpack("d", _shared[:])[0] or (_own[0] if _own else 0.0)
    return time.monotonic() - requested_at if requested_at else None


def reset() -> None:
    """Clear the request, for a worker that restarts in the same process."""
    _shared[:] = bytes(8)
    _own.clear()
