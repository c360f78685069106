"""What the engine of runs costs: from enqueueing to the start, from a cancel to its arrival, runs a second.

Facts
- One process with one worker, on an embedded database of its own; the handler does nothing, or waits to be cancelled.
- Run after run for the latencies, each through commit, hint, claim; a thousand at once, in 25 lanes, for the rate.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.infra.db.embedded.postgres import EmbeddedPostgres
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.db.hints import PostgresHints
from app.infra.db.migrate import upgrade
from app.infra.durable.engine import PostgresEngine
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ownership import Tally
from app.infra.durable.ports import Ended, Handlers, NewRun, RunContext
from app.infra.durable.queue import PostgresRunQueue
from app.infra.durable.worker import PostgresWorker
from app.infra.events.hub import EventHub
from app.infra.events.log import PostgresEventLog
from app.infra.events.ports import EventType, NewEvent
from app.kernel.ids import RunId, UserId, new_run_id
from app.kernel.transaction import Tx
from app.kernel.values import Json

TIMES = 200
RUNS = 1000
LANES = 25
START_GOAL_MS = 50.0
CANCEL_GOAL_MS = 100.0
RATE_GOAL = 200


@dataclass
class Stopwatch:
    """A handler that notes when it was begun and when it was stopped."""

    begun_s: dict[RunId, float] = field(default_factory=dict)
    stopped_s: dict[RunId, float] = field(default_factory=dict)

    async def run(self, context: RunContext) -> Json:
        self.begun_s[context.job.id] = time.perf_counter()
        if not context.job.input["waits"]:
            return None
        await context.progress([NewEvent(EventType.TEXT_DELTA, {"text": "x"})])
        try:
            await asyncio.sleep(60)
        finally:
            self.stopped_s[context.job.id] = time.perf_counter()
        return None

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        del tx, ended
        return ()


@dataclass
class Bench:
    database: Database
    queue: PostgresRunQueue
    engine: PostgresEngine
    log: PostgresEventLog
    watch: Stopwatch

    async def put(self, *, lane: str, waits: bool = False) -> RunId:
        run = NewRun(new_run_id(), "bench", UserId("bench"), "manual", {"waits": waits}, lane=lane)
        async with self.database.begin() as tx:
            await self.queue.put(tx, run)
        await self.engine.dispatch(run.id)
        return run.id

    async def said(self, run_id: RunId, *words: EventType) -> None:
        async for event in self.log.follow(run_id):
            if event.type in words:
                return

    async def start_ms(self) -> float:
        asked_s = time.perf_counter()
        run_id = await self.put(lane="start")
        await self.said(run_id, EventType.RUN_COMPLETED)
        return (self.watch.begun_s[run_id] - asked_s) * 1000

    async def cancel_ms(self) -> float:
        run_id = await self.put(lane="cancel", waits=True)
        await self.said(run_id, EventType.TEXT_DELTA)
        asked_s = time.perf_counter()
        await self.engine.cancel(run_id)
        await self.said(run_id, EventType.RUN_INTERRUPTED)
        return (self.watch.stopped_s[run_id] - asked_s) * 1000

    async def rate(self) -> float:
        async def fill(lane: int) -> RunId:
            made = [await self.put(lane=f"lane {lane}") for _ in range(RUNS // LANES)]
            return made[-1]

        began_s = time.perf_counter()
        for last in await asyncio.gather(*(fill(lane) for lane in range(LANES))):
            await self.said(last, EventType.RUN_COMPLETED)
        return RUNS / (time.perf_counter() - began_s)


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="portico-bench-") as folder:
        Path(folder).chmod(0o711)  # the database runs as another account when we are root
        asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> None:
    async with _engine(folder) as bench:
        for _ in range(20):
            await bench.start_ms()
        _tell("from enqueueing to the start", [await bench.start_ms() for _ in range(TIMES)], START_GOAL_MS)
        _tell("from a cancel to the handler", [await bench.cancel_ms() for _ in range(TIMES)], CANCEL_GOAL_MS)
        rate = await bench.rate()
        verdict = "met" if rate > RATE_GOAL else "MISSED"
        print(f"put, run and ended: {rate:.0f} a second (goal: {RATE_GOAL}, {verdict})")


@asynccontextmanager
async def _engine(folder: Path) -> AsyncIterator[Bench]:
    server = EmbeddedPostgres(folder / "postgres")
    await asyncio.to_thread(server.acquire)
    database = Database(DatabaseOptions(dsn=server.dsn, pool_size=20, max_overflow=0))
    try:
        await upgrade(database.engine, database.options.schema)
        hints, queue, watch = PostgresHints(database), PostgresRunQueue(), Stopwatch()
        handlers, hub = Handlers({"bench": watch}), EventHub(database, hints)
        engine = PostgresEngine(database, hints, queue, handlers)
        worker = PostgresWorker(database, hints, handlers, WorkerOptions("bench", slots=20, version="1"), Tally())
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(loop()) for loop in (hints.follow, hub.work, worker.work)]
            await hints.listens()
            yield Bench(database, queue, engine, PostgresEventLog(database, hub), watch)
            for loop in loops:
                loop.cancel()
    finally:
        await database.aclose()
        await asyncio.to_thread(server.release)


def _tell(name: str, found_ms: Sequence[float], goal_ms: float) -> None:
    median, p99 = statistics.median(found_ms), statistics.quantiles(found_ms, n=100)[98]
    verdict = "met" if median < goal_ms else "MISSED"
    print(f"{name}: {median:.1f} ms at the median, {p99:.1f} at p99 (goal: under {goal_ms:g}, {verdict})")
