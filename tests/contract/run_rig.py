"""An engine with a worker and its readers, fake or on PostgreSQL, and a handler that does what a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from app.infra.db.engine import Database
from app.infra.db.hints import PostgresHints
from app.infra.durable.engine import PostgresEngine
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ownership import Tally
from app.infra.durable.ports import Ended, Engine, Handlers, NewRun, RunContext, RunQueue, Worker
from app.infra.durable.queue import PostgresRunQueue
from app.infra.durable.worker import PostgresWorker
from app.infra.events.hub import EventHub
from app.infra.events.log import PostgresEventLog
from app.infra.events.ports import LAST_WORDS, EventLog, NewEvent, RunEvent
from app.kernel.ids import ChatId, RunId, UserId, new_run_id
from app.kernel.transaction import Begin, Tx
from app.kernel.values import Json
from tests.fakes.durable import FakeEngine, FakeEventLog, FakeRunQueue, FakeRuns, FakeWorker

PATIENCE_S = 20
OPTIONS = WorkerOptions(
    "test",
    slots=8,
    lease_s=3,
    poll_s=0.2,
    drain_s=5,
    cancel_s=0.5,
    first_retry_s=0.01,
    longest_retry_s=0.05,
    version="1",
)

type Act = Callable[[RunContext], Awaitable[Json]]


async def nothing(context: RunContext) -> Json:
    del context
    return None


@dataclass
class Scripted:
    """Does what it is told to; remembers what it settled."""

    act: Act = nothing
    says: Sequence[NewEvent] = ()
    settled: list[Ended] = field(default_factory=list)
    settle_failures: int = 0

    async def run(self, context: RunContext) -> Json:
        return await self.act(context)

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        if self.settle_failures:
            self.settle_failures -= 1
            raise ZeroDivisionError("settling failed")
        self.settled.append(ended)
        return self.says


@dataclass
class Rig:
    begin: Begin
    queue: RunQueue
    engine: Engine
    log: EventLog
    handler: Scripted
    make_worker: Callable[[WorkerOptions], Worker]
    options: WorkerOptions = OPTIONS
    tally: Tally = field(default_factory=Tally)

    async def put(self, **values: object) -> RunId:
        run = NewRun(new_run_id(), "test", UserId("ann"), "exchange", {})
        async with self.begin() as tx:
            made = await self.queue.put(tx, replace(run, **values))  # type: ignore[arg-type] # a test may say any
        await self.engine.dispatch(made)
        return made

    @asynccontextmanager
    async def working(self, **options: object) -> AsyncIterator[None]:
        """A worker for as long as the block."""
        worker = self.make_worker(replace(self.options, **options))  # type: ignore[arg-type] # as above
        async with asyncio.TaskGroup() as group:
            task = group.create_task(worker.work())
            try:
                yield
            finally:
                task.cancel()

    async def events(self, run_id: RunId) -> list[RunEvent]:
        """Everything the run says, once it is over."""
        async with asyncio.timeout(PATIENCE_S):
            return [event async for event in self.log.follow(run_id)]

    async def ended(self, run_id: RunId) -> RunEvent:
        return (await self.events(run_id))[-1]

    async def says(self, run_id: RunId, type_: str, *, times: int = 1) -> RunEvent:
        """Wait until a run has said a word so many times."""
        found = 0
        async with asyncio.timeout(PATIENCE_S):
            async for event in self.log.follow(run_id):
                found += event.type == type_
                if found == times:
                    return event
                assert event.type not in LAST_WORDS, f"{event} came before {type_}"
        raise AssertionError(f"it ended without {type_}")


def a_chat_run(number: int = 1) -> dict[str, object]:
    return {"chat_id": ChatId(number), "lane": f"chat:{number}"}


def fake_rig() -> Rig:
    kept, handler = FakeRuns(), Scripted()
    handlers = Handlers({"test": handler})
    return Rig(
        kept.begin,
        FakeRunQueue(kept),
        FakeEngine(kept, handlers),
        FakeEventLog(kept),
        handler,
        lambda options: FakeWorker(kept, handlers, options),
    )


@asynccontextmanager
async def postgres_rig(database: Database) -> AsyncIterator[Rig]:
    hints, handler = PostgresHints(database), Scripted()
    hub = EventHub(database, hints)
    handlers, queue, tally = Handlers({"test": handler}), PostgresRunQueue(), Tally()
    engine = PostgresEngine(database, hints, queue, handlers)
    rig = Rig(
        database.begin,
        queue,
        engine,
        PostgresEventLog(database, hub),
        handler,
        lambda options: PostgresWorker(database, hints, handlers, options, tally),
        tally=tally,
    )
    async with asyncio.TaskGroup() as group:
        loops = [group.create_task(hints.follow()), group.create_task(hub.work())]
        await hints.listens()
        try:
            yield rig
        finally:
            for loop in loops:
                loop.cancel()
