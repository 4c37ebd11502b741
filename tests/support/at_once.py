"""Run threads that start at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def at_once(threads: int, work: Callable[[int], T]) -> list[T]:
    """Call `work` with 0, 1, 2 … in so many threads, all at the same moment. Returns what they answered, in that order.

    Raises what the first of them raised.
    """
    everybody = threading.Barrier(threads)

    def begin(n: int) -> T:
        everybody.wait(10)
        return work(n)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))
