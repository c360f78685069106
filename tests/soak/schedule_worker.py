"""A program that keeps schedules and does their runs, which do nothing: a worker without its agents.

Called with the database's DSN and schema, and the agent that is named in the runs.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from app.agents.contract import AgentCard, AgentNotFound
from app.features.tasks.domain.task import KIND
from app.features.tasks.repository.alarm import HintedAlarm
from app.features.tasks.repository.slots import PostgresSlotStore
from app.features.tasks.use_cases.fire_slots import FireSlots
from app.features.tasks.use_cases.keep_schedules import KeepSchedules
from app.features.tasks.use_cases.start_task import StartTask
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.db.hints import PostgresHints
from app.infra.durable.engine import PostgresEngine
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ownership import Tally
from app.infra.durable.ports import Ended, Handlers, RunContext
from app.infra.durable.queue import PostgresRunQueue
from app.infra.durable.worker import PostgresWorker
from app.infra.events.ports import NewEvent
from app.kernel.transaction import Tx
from app.kernel.values import Json


class Nothing:
    async def run(self, context: RunContext) -> Json:
        del context
        return None

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        del tx, ended
        return ()


class OneAgent:
    default_name = "nobody"

    def cards(self) -> Sequence[AgentCard]:
        return []

    def card(self, name: str) -> AgentCard:
        raise AgentNotFound(name)


async def main(dsn: str, schema: str) -> None:
    database = Database(DatabaseOptions(dsn=dsn, schema=schema, pool_size=5))
    hints, queue, handlers = PostgresHints(database), PostgresRunQueue(), Handlers({KIND: Nothing()})
    engine = PostgresEngine(database, hints, queue, handlers)
    slots = PostgresSlotStore()
    fire = FireSlots(database.begin, slots, queue, StartTask(queue, OneAgent()), engine)
    schedules = KeepSchedules(database.begin, slots, fire, HintedAlarm(hints))
    worker = PostgresWorker(database, hints, handlers, WorkerOptions("scheduler", version="1"), Tally())
    with suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in (hints.follow(), schedules.work(), worker.work())]
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, lambda: [task.cancel() for task in tasks])
    await database.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
