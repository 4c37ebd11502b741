"""Everything that is measured and read, in the text that Prometheus takes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector


class _All(Collector):
    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._collectors = tuple(collectors)

    def collect(self) -> Iterable[Metric]:
        for collector in self._collectors:
            yield from collector.collect()


def write_down(collectors: Iterable[Collector], accept: str | None) -> tuple[bytes, str]:
    """The text and its content type, in the form that the Accept header asks for."""
    encode, content_type = choose_encoder(accept or "")
    return encode(_All(collectors)), content_type


def shared(folder: Path) -> Collector:
    """The values of all processes that share that folder, each counter and histogram summed up."""
    collector: Collector = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]  # the library types it in part
    return collector
