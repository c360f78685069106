"""Workers as real processes, what they did as seen in the database, and runs for them to do."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Row, text

from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable
from app.infra.durable.ports import NewRun
from app.infra.durable.queue import PostgresRunQueue
from app.kernel.ids import RunId, UserId, new_run_id
from app.kernel.values import Json

ROOT = Path(__file__).resolve().parents[2]
NURSERY = Path(__file__).with_name("run_nursery.py")
ATTACK_TABLES = {
    "attack_observed": "run_id uuid, epoch int, lane text, n int, worker int, began timestamptz, ended timestamptz",
    "attack_settled": "run_id uuid, state text",
    "attack_calls": "key text",
    "attack_effects": "key text PRIMARY KEY",
}
QUEUE = PostgresRunQueue()


@dataclass
class Attack:
    """`options` are those of every worker that is started."""

    database: Database
    nursery: subprocess.Popen[str]
    options: dict[str, object]
    workers: dict[str, int] = field(default_factory=dict)

    async def start(self, name: str, **options: object) -> int:
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write(f"start {name} {json.dumps(self.options | options)}\n")
        self.nursery.stdin.flush()
        self.workers[name] = int(await asyncio.to_thread(self.nursery.stdout.readline))
        return self.workers[name]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.workers[name], number)

    def is_alive(self, name: str) -> bool:
        return Path(f"/proc/{self.workers[name]}").exists()

    async def keep_alive(self, count: int) -> None:
        """Start a worker for each that died, for as long as this is not cancelled."""
        started = 0
        while True:
            alive = [name for name in self.workers if self.is_alive(name)]
            for _ in range(count - len(alive)):
                started += 1
                await self.start(f"kept-{started}")
            await asyncio.sleep(0.05)

    async def put(self, kind: str, given: Json, *, lane: str | None = None, dedupe: str | None = None) -> RunId:
        assert isinstance(given, dict)
        run = NewRun(new_run_id(), kind, UserId("ann"), "exchange", given, lane=lane, dedupe=dedupe)
        async with self.database.begin() as tx:
            return await QUEUE.put(tx, run)

    async def rows(self, statement: str, **values: object) -> Sequence[Row[Any]]:  # Any: the columns
        async with self.database.statements() as connection:
            return (await connection.execute(text(statement), values)).all()

    async def one(self, statement: str, **values: object) -> Any:  # Any: whatever is asked for
        return (await self.rows(statement, **values))[0][0]

    async def all_over(self, *, within_s: float) -> None:
        await self.until("SELECT count(*) = 0 FROM runs WHERE finished_at IS NULL", within_s=within_s)

    async def until(self, statement: str, *, within_s: float = 30, **values: object) -> None:
        """Wait until a statement says yes."""
        async with asyncio.timeout(within_s):
            while not await self._says(statement, **values):  # noqa: ASYNC110 - polled, with a deadline
                await asyncio.sleep(0.03)

    async def _says(self, statement: str, **values: object) -> bool:
        try:
            return bool(await self.one(statement, **values))
        except StorageUnavailable:  # a test may have killed it
            return False

    async def gaps(self) -> int:
        """Count the runs whose events are not numbered from 1 on."""
        return int(
            await self.one("""
            SELECT count(*) FROM runs LEFT JOIN LATERAL (
              SELECT count(*) AS events, min(seq) AS first, max(seq) AS last FROM run_events WHERE run_id = runs.id
            ) AS said ON true WHERE (said.events, said.first, said.last) IS DISTINCT FROM (event_seq, 1, event_seq)""")
        )


@asynccontextmanager
async def attacked(database: Database, *, lease_s: float = 1.0, **options: object) -> AsyncIterator[Attack]:
    """A nursery, and empty tables for what its workers do."""
    async with database.engine.begin() as connection:
        for name, columns in ATTACK_TABLES.items():
            await connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
            await connection.execute(text(f"CREATE TABLE {name} ({columns})"))
    command = [sys.executable, str(NURSERY), database.options.dsn, database.options.schema]
    nursery = await asyncio.to_thread(
        subprocess.Popen,
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    attack = Attack(database, nursery, {"lease_s": lease_s, "poll_s": 0.2, **options})
    try:
        yield attack
    finally:
        for name in attack.workers:
            attack.kill(name)
        nursery.kill()
        await asyncio.to_thread(nursery.communicate)
        async with database.engine.begin() as connection:
            for name in ATTACK_TABLES:
                await connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
