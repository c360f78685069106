"""A run's hand on the engine, over PostgreSQL: `RunContext` of the ports, for one attempt in this process."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from app.infra.db.engine import Database
from app.infra.db.hints import PostgresHints
from app.infra.db.statements import Statements
from app.infra.durable import families, journal, speech
from app.infra.durable.channels import RUNS
from app.infra.durable.limits import MAX_NAME_CHARS, MAX_STEPS, SHORT_SLEEP_S
from app.infra.durable.ownership import Ownership
from app.infra.durable.ports import (
    Body,
    ChildEnd,
    FamilyFull,
    Fenced,
    Job,
    JournalUnreadable,
    NewChild,
    RunError,
    RunFailed,
    StepInDoubt,
    StepKey,
    Suspended,
)
from app.infra.durable.releases import Wait
from app.infra.durable.writes import Writes, patiently
from app.infra.events.channel import EVENTS, telling, word_of
from app.infra.events.encoding import MAX_EVENT_BYTES, columns_of
from app.infra.events.ports import EventType, NewEvent
from app.infra.wire.json_text import written
from app.kernel.ids import RunId
from app.kernel.values import Json


@dataclass(slots=True)
class PostgresRunContext:
    """`last` is the number of the run's last event; `version` is this program's.

    After a cancel events may still be added, for what was under way; no step is begun any more.
    """

    own: Ownership
    writes: Writes
    suspension: Wait | None
    _job: Job
    _database: Database
    _hints: PostgresHints
    _last: int
    _version: str
    _recorded: dict[str, bool] | None = None
    _replayed: int = 0
    _counts: dict[str, int] = field(default_factory=dict)
    _number: int = 0
    _late: list[journal.Finished] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        job: Job,
        own: Ownership,
        writes: Writes,
        database: Database,
        hints: PostgresHints,
        *,
        last: int,
        version: str,
    ) -> "PostgresRunContext":
        return cls(own, writes, None, job, database, hints, last, version)

    @property
    def job(self) -> Job:
        return self._job

    async def step(self, name: str, body: Body, *, is_idempotent: bool = True, only_reads: bool = False) -> Json:
        key = self._next_key(name)
        recorded = await self._journal()
        is_done = recorded.get(key.name)
        if is_done is False:
            raise StepInDoubt(key)
        if is_done:
            self._replayed += 1
            return await self._patiently(lambda c: journal.read_result(c, key.run_id, key.name))
        if self._job.code_version != self._version and self._replayed < sum(recorded.values()):
            raise JournalUnreadable(begun_by=self._job.code_version, now=self._version)
        self._number += 1
        number = len(recorded) + self._number
        if number > MAX_STEPS:
            raise RunFailed(RunError("run-too-long", f"The run took more than {MAX_STEPS} steps."))
        await self._stand()
        if only_reads:
            return await self._do_for_now(key, number, body)
        return await (self._do if is_idempotent else self._do_once)(key, number, body)

    async def wait(self, key: str, *, until: datetime | None = None) -> Json:
        if until is not None:
            until = await self._kept_moment(f"until:{key}", until)
        answer = await self._patiently(lambda c: journal.answer(c, self._job.id, key))
        if answer is None and until is not None and await self._give_up(key, until):
            return None
        if answer is None:
            await self._write_down()
            self.suspension = Wait(key, until)
            raise Suspended
        return answer.payload

    async def sleep(self, name: str, until: datetime) -> None:
        until = await self._kept_moment(f"sleep:{name}", until)
        rest_s = (until - datetime.now(UTC)).total_seconds()
        if rest_s <= SHORT_SLEEP_S:
            await asyncio.sleep(max(0, rest_s))
        else:
            await self.wait(f"sleep:{name}", until=until)

    async def begin(self, name: str, child: NewChild) -> RunId:
        async def put(key: StepKey) -> Json:
            try:
                made = await self.writes.do(
                    lambda: patiently(lambda: self._put(key, child), patience_s=self.own.lease_s)
                )
            except FamilyFull as full:
                return families.refusal(full)
            self._hints.send(RUNS, made.hex)
            self._hints.send(EVENTS, word_of(made, None))
            return str(made)

        return families.read_begun(await self.step(name, put))

    async def join(
        self, children: Sequence[RunId], *, at_least: int | None = None, until: datetime | None = None
    ) -> Mapping[RunId, ChildEnd]:
        needed = len(children) if at_least is None else at_least
        ends = await self._patiently(lambda c: families.read_ends(c, self._job.id, children))
        if len(ends) < needed and (until is None or datetime.now(UTC) < until):
            await self._write_down()
            self.suspension = Wait.for_children(children, needed, until)
            raise Suspended
        return ends

    async def read_child(self, child: RunId) -> Json:
        return await self._patiently(lambda c: families.read_result(c, self._job.id, child))

    async def progress(self, events: Sequence[NewEvent]) -> int:
        if not events:
            return self._last
        return await self.writes.do(lambda: self._say(columns_of(events), _progress(events)))

    async def _put(self, key: StepKey, child: NewChild) -> RunId:
        """Put a child as the owner. Errors: FamilyFull, Fenced, StorageUnavailable."""
        async with self._database.begin() as tx:
            made = await families.put_child(tx, self._job, key, child)
        if made is None:
            self.own.fence()
            raise Fenced
        return made

    async def _do(self, key: StepKey, number: int, body: Body) -> Json:
        result = journal.step_text(await body(key))
        await self._write_down(journal.Finished(key.name, number, result))
        return cast("Json", json.loads(result))  # as it will be read again, not as it was made

    async def _do_for_now(self, key: StepKey, number: int, body: Body) -> Json:
        result = journal.step_text(await body(key))
        self._late.append(journal.Finished(key.name, number, result))
        return cast("Json", json.loads(result))

    async def _write_down(self, *steps: journal.Finished) -> None:
        """Write down steps, behind those that only read and were not written down yet."""
        steps = (*self._late, *steps)
        if steps:
            await self._fenced(lambda c: journal.finish(c, self._job.id, self._job.epoch, steps))
            self._late = [step for step in self._late if step not in steps]

    async def _do_once(self, key: StepKey, number: int, body: Body) -> Json:
        await self._fenced(lambda c: journal.intend(c, key.run_id, self._job.epoch, key.name, number))
        try:
            return await self._do(key, number, body)
        except BaseException as error:
            if isinstance(error, Exception):  # it told that it failed; a cancelled one tells nothing, its intent stays
                await self.writes.do(
                    lambda: self._patiently(lambda c: journal.withdraw(c, key.run_id, self._job.epoch, key.name))
                )
            raise

    async def _journal(self) -> dict[str, bool]:
        """Tell what was written down before this attempt; the first worker finds nothing and does not look."""
        if self._recorded is None:
            found: Sequence[journal.Recorded] = ()
            if self._job.epoch > 1:
                found = await self._patiently(lambda c: journal.read_names(c, self._job.id))
            self._recorded = {one.name: one.is_done for one in found}
        return self._recorded

    async def _stand(self) -> None:
        """Make sure before an effect that the run is still ours; asked of the database only after a long silence."""
        if self.own.is_cancelled:
            raise Fenced
        if not self.own.is_sure:
            await self._fenced(lambda c: journal.owns(c, self._job.id, self._job.epoch))

    async def _kept_moment(self, name: str, until: datetime) -> datetime:
        """Give the moment that was meant when this was first asked: a handler that runs again may reckon anew."""

        async def keep(key: StepKey) -> Json:
            del key
            return until.astimezone(UTC).isoformat()

        return datetime.fromisoformat(cast("str", await self.step(name, keep)))

    async def _give_up(self, key: str, until: datetime) -> bool:
        return await self.writes.do(
            lambda: self._patiently(lambda c: journal.give_up(c, self._job.id, self._job.epoch, key, until))
        )

    async def _say(self, said_as: Mapping[str, list[str]], progress: str | None) -> int:
        tries = 0

        async def attempt() -> speech.Said:
            nonlocal tries
            tries += 1
            async with self._database.statements() as connection:
                return await self._say_once(connection, said_as, progress, is_again=tries > 1)

        said = await patiently(attempt, patience_s=self.own.lease_s)
        self._last = said.last
        self._tell(said, **said_as)
        return self._last

    def _tell(self, said: speech.Said, *, types: Sequence[str], documents: Sequence[str]) -> None:
        """Hint at what was said, and say it where nobody has to wait longer for that."""
        word = word_of(self._job.id, self._job.chat_id)
        if said.at is not None and self._hints.is_idle:
            first = said.last - len(types) + 1
            word = telling(word, seq=first, at=said.at, types=types, documents=documents)
        self._hints.send(EVENTS, word)

    async def _say_once(
        self,
        connection: Statements,
        said_as: Mapping[str, list[str]],
        progress: str | None,
        *,
        is_again: bool,
    ) -> speech.Said:
        now = asyncio.get_running_loop().time()
        last = self._last
        while True:
            said = await speech.say(
                connection,
                self._job.id,
                self._job.epoch,
                last=last,
                lease_s=self.own.lease_s,
                progress=progress,
                **said_as,
            )
            if said is not None:
                self.own.prolong(now)
                return said
            found = await speech.last_number(connection, self._job.id, self._job.epoch)
            if found is None:
                self.own.fence()
                raise Fenced
            if is_again and found == last + len(said_as["types"]):
                return speech.Said(found, None)  # it was written; only the answer was lost
            last = found

    async def _fenced(self, write: Callable[[Statements], Awaitable[bool]]) -> None:
        """Write as the owner. Errors: Fenced, StorageUnavailable."""
        if not await self.writes.do(lambda: self._patiently(write)):
            self.own.fence()
            raise Fenced

    async def _patiently[T](self, use: Callable[[Statements], Awaitable[T]]) -> T:
        async def attempt() -> T:
            async with self._database.statements() as connection:
                return await use(connection)

        return await patiently(attempt, patience_s=self.own.lease_s)

    def _next_key(self, name: str) -> StepKey:
        """Name the next step of that name; always with its number, so that no name can be another's second."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        if len(name) > MAX_NAME_CHARS:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
            name = f"{name[: MAX_NAME_CHARS - 33]}~{digest}"
        return StepKey(self._job.id, f"{name}#{count}")


def _progress(events: Sequence[NewEvent]) -> str | None:
    """Give the last word about how far the run is, for its row."""
    words = [event.data for event in events if event.type is EventType.RUN_PROGRESS]
    return written(words[-1], limit_bytes=MAX_EVENT_BYTES) if words else None
