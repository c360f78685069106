"""A program that makes workers by forking itself, so that each is a real process and there in no time.

Reads `start NAME OPTIONS` from its input, where OPTIONS is JSON for `WorkerOptions`, and answers with the process id.
What its handlers do and see they write into the tables of `ATTACK_TABLES`, in the database they work on.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import text

from app.infra.db.engine import Database, DatabaseOptions, session_of
from app.infra.db.hints import PostgresHints
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ownership import Tally
from app.infra.durable.ports import Ended, Handlers, RunContext, StepKey
from app.infra.durable.worker import PostgresWorker
from app.infra.events.ports import EventType, NewEvent
from app.kernel.transaction import Tx
from app.kernel.values import Json

EFFECTS = 5
BOUNDARIES = EFFECTS * 5 + 2
SAY = EventType.TEXT_DELTA


class Writer:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def write(self, statement: str, **values: object) -> None:
        async with self.database.statements() as connection:
            await connection.execute(text(statement), values)

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        await session_of(tx).execute(
            text("INSERT INTO attack_settled (run_id, state) VALUES (:run_id, :state)"),
            {"run_id": ended.job.id, "state": ended.state.value},
        )
        return ()


class Observed(Writer):
    """Is seen from its first to its last moment."""

    async def run(self, context: RunContext) -> Json:
        job = context.job
        begun = (
            "INSERT INTO attack_observed (run_id, epoch, lane, n, worker, began)"
            " VALUES (:id, :e, :l, :n, :w, clock_timestamp())"
        )
        await self.write(begun, id=job.id, e=job.epoch, l=job.lane, n=job.input["n"], w=os.getpid())
        await context.progress([NewEvent(SAY, {"text": "x"})])
        await asyncio.sleep(float(str(job.input["ms"])) / 1000)
        ended = "UPDATE attack_observed SET ended = clock_timestamp() WHERE run_id = :id AND epoch = :e"
        await self.write(ended, id=job.id, e=job.epoch)
        return None


class Effects(Writer):
    """Has effects outside, and dies at the border its input names for the epoch."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.borders: dict[object, int] = {}

    async def run(self, context: RunContext) -> Json:
        job = context.job
        self.borders[job.id] = 0

        async def body(key: StepKey) -> Json:
            self._border(context.job.id, job.epoch, job.input)
            await self.write("INSERT INTO attack_calls (key) VALUES (:key)", key=str(key))
            await self.write("INSERT INTO attack_effects (key) VALUES (:key) ON CONFLICT DO NOTHING", key=str(key))
            self._border(job.id, job.epoch, job.input)
            return str(key)

        done: list[Json] = []
        for _ in range(EFFECTS):
            self._border(job.id, job.epoch, job.input)
            done.append(await context.step("effect", body))
            self._border(job.id, job.epoch, job.input)
            await context.progress([NewEvent(SAY, {"text": "x"})])
            self._border(job.id, job.epoch, job.input)
        return done

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        self._border(ended.job.id, ended.job.epoch, ended.job.input)
        said = await super().settle(tx, ended)
        self._border(ended.job.id, ended.job.epoch, ended.job.input)
        return said

    def _border(self, run_id: object, epoch: int, given: object) -> None:
        self.borders[run_id] += 1
        deaths = given["deaths"]  # type: ignore[index] # the run's input
        if epoch <= len(deaths) and self.borders[run_id] == deaths[epoch - 1]:
            os.kill(os.getpid(), signal.SIGKILL)


class Ticking(Writer):
    """Takes many short steps."""

    async def run(self, context: RunContext) -> Json:
        async def tick(_key: StepKey) -> Json:
            await asyncio.sleep(0.02)
            return context.job.epoch

        return [await self._tick(context, tick) for _ in range(int(str(context.job.input["ticks"])))]

    async def _tick(self, context: RunContext, tick: object) -> Json:
        made = await context.step("tick", tick)  # type: ignore[arg-type] # the body above
        await context.progress([NewEvent(SAY, {"text": str(context.job.epoch)})])
        return made


class Blocking(Writer):
    """Keeps the event loop for itself, waiting and then reckoning."""

    async def run(self, context: RunContext) -> Json:
        seconds = float(str(context.job.input["seconds"]))
        time.sleep(seconds)  # noqa: ASYNC251 the point
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            sum(range(10_000))
        return context.job.epoch


async def work(dsn: str, schema: str, options: WorkerOptions, parent: int) -> None:
    database = Database(DatabaseOptions(dsn=dsn, schema=schema, pool_size=5))
    hints = PostgresHints(database)
    handlers = Handlers(
        {
            "observed": Observed(database),
            "effects": Effects(database),
            "ticking": Ticking(database),
            "blocking": Blocking(database),
        }
    )
    worker = PostgresWorker(database, hints, handlers, options, Tally())
    with suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as group:
            hearing, working = group.create_task(hints.follow()), group.create_task(worker.work())
            group.create_task(_die_with(parent))
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
            await asyncio.wait([working])
            hearing.cancel()
            raise asyncio.CancelledError
    await database.aclose()


async def _die_with(parent: int) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - a parent's end is no event
        await asyncio.sleep(0.2)
    os._exit(1)


def main(dsn: str, schema: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    parent = os.getpid()
    for line in sys.stdin:
        _, name, options = line.strip().split(" ", 2)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(2, 1)  # what a worker logs is no answer of ours
            asyncio.run(work(dsn, schema, WorkerOptions(name, version="1", **json.loads(options)), parent))
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
