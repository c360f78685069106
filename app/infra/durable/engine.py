"""The engine as seen from outside a worker: offer, stop, answer, begin again. Any process may."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.infra.db.engine import Database, session_of
from app.infra.db.errors import StorageUnavailable
from app.infra.db.hints import PostgresHints
from app.infra.durable.channels import CANCELS, RUNS
from app.infra.durable.endings import end_idle
from app.infra.durable.families import Family
from app.infra.durable.limits import MAX_REASON_CHARS
from app.infra.durable.options import code_version
from app.infra.durable.ports import Ended, Handlers, NewRun, Noting, RunNotFound, RunNotOver, RunQueue, RunState
from app.infra.durable.rows import job_of
from app.infra.events.channel import EVENTS, word_of
from app.kernel.ids import ChatId, RunId, new_run_id
from app.kernel.values import Json

_CHATS = text("SELECT id, chat_id FROM runs WHERE id = ANY(CAST(:ids AS uuid[]))")
_READ = text("""
SELECT id, kind, owner, trigger, input, lane, chat_id, agent, task_id, parent_id, failures, epoch, code_version, state
FROM runs WHERE id = :id""")
_ASK = text("""
UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now()),
  cancel_reason = coalesce(cancel_reason, :reason)
WHERE id = :id AND state = 'running' RETURNING id""")
# of a kind that is not handled here: whoever takes the run ends it
_ASK_IDLE = text("""
UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now()),
  cancel_reason = coalesce(cancel_reason, :reason), run_at = now(), is_ready = is_ready OR state = 'waiting',
  state = 'queued'
WHERE id = :id AND state IN ('queued', 'waiting') RETURNING id""")
_AGAIN = text("""
SELECT kind, owner, trigger, input, lane, chat_id, task_id, parent_id, agent, priority, max_attempts,
  on_disconnect, state
FROM runs WHERE id = :id""")


@dataclass(frozen=True, slots=True)
class PostgresEngine:
    database: Database
    hints: PostgresHints
    queue: RunQueue
    handlers: Handlers

    async def dispatch(self, run_id: RunId, *, chat_id: ChatId | None = None) -> None:
        if chat_id is None:
            await self.dispatch_many([run_id])
            return
        self.hints.send(RUNS, run_id.hex)
        self.hints.send(EVENTS, word_of(run_id, chat_id, seq=1))

    async def dispatch_many(self, runs: Sequence[RunId]) -> None:
        if not runs:
            return
        self.hints.send(RUNS, *(run_id.hex for run_id in runs))
        with suppress(StorageUnavailable):  # the runs are committed, and are found without a hint
            async with self.database.statements() as connection:
                rows = (await connection.execute(_CHATS, {"ids": list(runs)})).all()
            self.hints.send(EVENTS, *(word_of(RunId(row.id), row.chat_id) for row in rows))

    async def cancel(self, run_id: RunId, *, reason: str = "", noting: Noting | None = None) -> RunState:
        reason = reason[:MAX_REASON_CHARS]
        family: Family | None = None
        while True:  # until nobody was faster between the look and the act
            async with self.database.begin() as tx:
                session = session_of(tx)
                row = await _read(session, run_id)
                state = RunState(row.state)
                if state.is_final:
                    return state
                if state is RunState.RUNNING:
                    is_done, after = await _ask(session, _ASK, run_id, reason), RunState.RUNNING
                elif handler := self.handlers.get(row.kind):
                    ended = Ended(job_of(row, version=code_version()), RunState.INTERRUPTED)
                    family, after = await end_idle(tx, handler, ended, reason=reason), RunState.INTERRUPTED
                    is_done = family is not None
                else:
                    is_done, after = await _ask(session, _ASK_IDLE, run_id, reason), RunState.QUEUED
                if is_done and noting is not None:
                    await noting(tx)
            if is_done:
                self._tell_of(row, after)
                if family is not None:
                    family.tell(self.hints)
                return after

    async def signal(self, run_id: RunId, key: str, payload: Json) -> bool:
        async with self.database.begin() as tx:
            is_first = await self.queue.signal(tx, run_id, key, payload)
        await self.dispatch(run_id)
        return is_first

    async def rerun(
        self,
        run_id: RunId,
        *,
        told: Mapping[str, Json] | None = None,
        dedupe: str | None = None,
        noting: Noting | None = None,
    ) -> RunId:
        async with self.database.begin() as tx:
            row = (await session_of(tx).execute(_AGAIN, {"id": run_id})).first()
            if row is None:
                raise RunNotFound
            if not RunState(row.state).is_final:
                raise RunNotOver
            columns = {name: value for name, value in row._mapping.items() if name not in {"state", "input"}}  # noqa: SLF001 the row's documented view
            asked = {**row.input, **(told or {})}
            again = NewRun(id=new_run_id(), rerun_of=run_id, input=asked, dedupe=dedupe, **columns)
            made = await self.queue.put(tx, again)
            if noting is not None:
                await noting(tx)
        await self.dispatch(made)
        return made

    def _tell_of(self, row: Row[Any], after: RunState) -> None:  # Any: the columns, which have no type of their own
        run_id = RunId(row.id)
        if after is RunState.RUNNING:
            self.hints.send(CANCELS, run_id.hex)
        else:
            self.hints.send(EVENTS, word_of(run_id, row.chat_id))
            self.hints.send(RUNS, run_id.hex)  # the next of its lane


async def _read(session: AsyncSession, run_id: RunId) -> Row[Any]:  # Any: as above
    row = (await session.execute(_READ, {"id": run_id})).first()
    if row is None:
        raise RunNotFound
    return row


async def _ask(session: AsyncSession, statement: Any, run_id: RunId, reason: str) -> bool:  # Any: SQL
    return (await session.execute(statement, {"id": run_id, "reason": reason})).first() is not None
