"""Processor time of a process and all that it started."""

from __future__ import annotations

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system time so far, in seconds, of the process, its living descendants, and those that it saw end."""
    root = psutil.Process(pid)
    ended = root.cpu_times()
    total = float(ended.children_user + ended.children_system)
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended just now; its parent's figures have it the next time
        total += times.user + times.system
    return total
