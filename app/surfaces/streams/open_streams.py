"""The streams a process has open: how many, what became of the others, and one call that ends them all."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from app.infra.observability.metrics import Family, by_labels, labels_of
from app.kernel.draining import Draining

HEARTBEAT_S = 15.0


class Ending(StrEnum):
    """Why a stream ended."""

    OVER = "over"
    """the run said its last word"""
    GONE = "gone"
    """the reader left"""
    DRAINED = "drained"
    """this process is about to stop"""
    TOO_SLOW = "too_slow"
    """more waited for the reader than is kept for one"""
    LOST = "lost"
    """the events could not be read any more"""


@dataclass(slots=True)
class OpenStreams:
    """Concurrency: one a process, of its event loop; `keep` runs in the background."""

    draining: Draining
    heartbeat_s: float = HEARTBEAT_S
    ended: Counter[tuple[str, Ending]] = field(default_factory=Counter)
    _open: dict[asyncio.Event, str] = field(default_factory=dict)

    @property
    def are_to_end(self) -> bool:
        return self.draining.has_begun

    @contextmanager
    def counted(self, kind: str, wake: asyncio.Event) -> Iterator[None]:
        """Count a stream in; `wake` is set when all are to end."""
        self._open[wake] = kind
        try:
            yield
        finally:
            del self._open[wake]

    def open_now(self, kind: str) -> int:
        return sum(known == kind for known in self._open.values())

    async def keep(self) -> None:
        """Wake every stream when this process is told to stop."""
        await self.draining.wait()
        for wake in self._open:
            wake.set()

    def families(self) -> Iterable[Family]:
        open_ = Counter(self._open.values())
        yield by_labels(
            "portico_run_streams_open",
            "gauge",
            "Clients that follow runs now.",
            {labels_of(kind=kind): float(open_[kind]) for kind in ("sse", "websocket")},
        )
        ended = {labels_of(kind=kind, ending=ending.value): float(n) for (kind, ending), n in self.ended.items()}
        yield by_labels("portico_run_streams_ended_total", "counter", "Streams of events that ended, and why.", ended)
