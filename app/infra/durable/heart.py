"""The heart of a worker: a thread that says for all its runs that they are alive, whatever the event loop is busy with.

Facts
- One statement renews every lease and tells of each run whether it is still ours and whether it is to stop.
- A row that is locked at that moment is left out: its owner or its ending is writing it; the heart waits for nobody.
- Leases are by the database's clock. A lease that ran out while nobody took the run is renewed like any other.
- The thread needs the interpreter's lock; work that holds it for longer than a lease stops the heart too.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.infra.db.engine import DatabaseOptions
from app.infra.db.errors import StorageUnavailable, translated
from app.infra.db.listening import own_engine
from app.infra.durable.ownership import Ownership
from app.kernel.ids import RunId

JOIN_TIMEOUT_S = 5
AGAIN_S = 0.25

_BEAT = text("""
WITH mine AS (
  SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:epochs AS integer[])) AS own(id, epoch)
), free AS (
  SELECT runs.id FROM runs JOIN mine ON mine.id = runs.id AND mine.epoch = runs.epoch
  WHERE runs.state = 'running' FOR UPDATE OF runs SKIP LOCKED
), beaten AS (
  UPDATE runs SET lease_until = now() + make_interval(secs => :lease_s) FROM free WHERE runs.id = free.id
  RETURNING runs.id
)
SELECT mine.id, mine.epoch, coalesce(runs.state = 'running', false) AS is_ours,
  runs.cancel_requested_at IS NOT NULL AS is_cancelled, beaten.id IS NOT NULL AS is_beaten
FROM mine LEFT JOIN runs ON runs.id = mine.id AND runs.epoch = mine.epoch LEFT JOIN beaten ON beaten.id = mine.id""")

log = structlog.get_logger()

type Tell = Callable[[Ownership], None]


@dataclass(slots=True)
class Heart:
    """Concurrency: `take` and `let_go` from the event loop; `on_lost` and `on_cancelled` are called on it."""

    options: DatabaseOptions
    lease_s: float
    beat_s: float
    on_lost: Tell
    on_cancelled: Tell
    _owned: dict[RunId, Ownership] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _wake: Callable[[], object] = field(default=lambda: None)
    _is_stopped: bool = False

    def take(self, own: Ownership) -> None:
        with self._lock:
            self._owned[own.run_id] = own

    def let_go(self, own: Ownership) -> None:
        with self._lock:
            if self._owned.get(own.run_id) is own:
                del self._owned[own.run_id]

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(loop)), name="portico-heart", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._is_stopped = True
        self._wake()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, JOIN_TIMEOUT_S)

    def beat_soon(self) -> None:
        self._wake()

    @property
    def has_stopped(self) -> bool:
        """Tell whether the thread ended by itself, which it does only by a mistake of ours."""
        return self._thread is not None and not self._thread.is_alive()

    async def _live(self, told: asyncio.AbstractEventLoop) -> None:
        """Beat until stopped, on a loop and a connection of its own."""
        woken = asyncio.Event()
        here = asyncio.get_running_loop()
        self._wake = lambda: here.call_soon_threadsafe(woken.set)
        engine = own_engine(self.options)
        pause_s = self.beat_s
        try:
            while not self._is_stopped:
                await _wait(woken, pause_s)
                woken.clear()
                pause_s = self.beat_s if await self._beat(engine, told) else min(AGAIN_S, self.beat_s)
        finally:
            self._wake = lambda: None
            await engine.dispose()

    async def _beat(self, engine: AsyncEngine, told: asyncio.AbstractEventLoop) -> bool:
        with self._lock:
            owned = dict(self._owned)
        if not owned:
            return True
        since_s = time.monotonic()
        values = {
            "ids": list(owned),
            "epochs": [own.epoch for own in owned.values()],
            "lease_s": self.lease_s,
        }
        try:
            with translated():
                async with (
                    asyncio.timeout(max(1.0, self.beat_s)),
                    engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection,
                ):
                    rows = (await connection.execute(_BEAT, values)).all()
        except StorageUnavailable as lost:
            log.warning("heart.missed_a_beat", runs=len(owned), **lost.evidence)
            return False
        for row in rows:
            if row.is_beaten:  # noted here: the event loop may be busy
                owned[RunId(row.id)].prolong(since_s)
        told.call_soon_threadsafe(self._heed, owned, rows)
        return True

    def _heed(self, owned: Mapping[RunId, Ownership], rows: Sequence[Row[Any]]) -> None:  # Any: columns
        for row in rows:
            own = owned[RunId(row.id)]
            if self._owned.get(own.run_id) is not own:
                continue  # let go meanwhile
            if not row.is_ours:
                self.on_lost(own)
            elif row.is_cancelled:
                self.on_cancelled(own)


async def _wait(woken: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await woken.wait()
    except TimeoutError:
        return
