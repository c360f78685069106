"""The journal of events in PostgreSQL, for readers."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from app.infra.db.engine import Database
from app.infra.db.hints import PostgresHints
from app.infra.events.encoding import event_of
from app.infra.events.ports import LAST_WORDS, RunEvent
from app.kernel.ids import RunId

_READ = text("""
SELECT run_id, seq, chat_id, type, at, data FROM run_events WHERE run_id = :run_id AND seq > :after
ORDER BY seq LIMIT :limit""")


@dataclass(slots=True)
class PostgresEventLog:
    database: Database
    hints: PostgresHints

    async def read(self, run_id: RunId, *, after: int = 0, limit: int = 1000) -> Sequence[RunEvent]:
        values = {"run_id": run_id, "after": after, "limit": limit}
        async with self.database.statements() as connection:
            return [event_of(row) for row in await connection.execute(_READ, values)]

    async def follow(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[RunEvent]:
        while True:
            for event in await self.read(run_id, after=after):
                yield event
                after = event.seq
                if event.type in LAST_WORDS:
                    return
            await asyncio.sleep(0.05)
