"""The journal of events in PostgreSQL, for readers: read on, or follow. Writing is the engine's.

Who follows reads what there is, joins the hub, reads what came before that, and then takes what the hub puts into the
queue. What comes both ways is known by its number. A queue that ran over while its reader caught up is no fault of it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from app.infra.db.engine import Database
from app.infra.db.statements import Statements
from app.infra.events.catch_up import CatchUp
from app.infra.events.groups import SLACK_MS, Group, Whose, before
from app.infra.events.hub import EventHub
from app.infra.events.ports import LAST_WORDS, PlacedEvent, ReaderTooSlow, RunEvent, RunsCursor
from app.infra.events.readers import Reader
from app.infra.events.reads import (
    FIRST,
    MAX_ROWS,
    read_end_of_chat,
    read_live_of_person,
    read_newest_of_chat,
    read_newest_of_person,
    read_run,
    read_runs_of,
)
from app.infra.events.run_places import RunPlaces
from app.kernel.ids import ChatId, RunId, UserId

READS_AT_ONCE = 4
"""of followers' own questions; those in excess wait here and not for the pool, which others need too"""


@dataclass(slots=True)
class PostgresEventLog:
    """Concurrency: any number of followers; the hub's `work` runs beside them."""

    database: Database
    hub: EventHub
    _turns: asyncio.Semaphore = field(init=False, default_factory=lambda: asyncio.Semaphore(READS_AT_ONCE))

    async def read(self, run_id: RunId, *, after: int = 0, limit: int = 1000) -> Sequence[RunEvent]:
        async with self.database.statements() as connection:
            return await read_run(connection, run_id, after=after, limit=limit)

    async def chat_end(self, chat_id: ChatId) -> RunsCursor | None:
        async with self._in_turn() as connection:
            return await read_end_of_chat(connection, chat_id)

    async def follow(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[RunEvent]:
        reader = Reader()
        try:
            while reader.has_missed:
                reader.begin_anew()
                rest = CatchUp(self.hub, run_id, after, partial(self.hub.join, run_id, reader))
                async with aclosing(rest.events()) as events:
                    async for event in events:
                        after = event.seq
                        yield event
                if rest.is_over:
                    return
            async with aclosing(reader.events()) as events:
                async for event in events:
                    if event.seq > after:
                        after = event.seq
                        yield event
                    if event.type in LAST_WORDS:
                        return
            raise ReaderTooSlow(after)
        finally:
            self.hub.leave(run_id, reader)

    async def follow_chat(self, chat_id: ChatId, *, after: RunsCursor | None = None) -> AsyncGenerator[PlacedEvent]:
        async with self._in_turn() as connection:
            newest = await read_newest_of_chat(connection, chat_id)
        async with aclosing(self._follow(chat_id, Group(newest), RunPlaces(after))) as events:
            async for event in events:
                yield event

    async def follow_person(self, owner: UserId, *, after: RunsCursor | None = None) -> AsyncGenerator[PlacedEvent]:
        async with self._in_turn() as connection:
            newest = await read_newest_of_person(connection, owner)
            near = await read_runs_of(connection, owner, after=before(newest, SLACK_MS), limit=MAX_ROWS)
            live = {} if after is not None else await read_live_of_person(connection, owner)
        places = RunPlaces.now(before(newest, SLACK_MS), near, live) if after is None else RunPlaces(after)
        group = Group(newest, SLACK_MS, set(near))
        async with aclosing(self._follow(owner, group, places)) as events:
            async for event in events:
                yield event

    async def _follow(self, whose: Whose, group: Group, places: RunPlaces) -> AsyncGenerator[PlacedEvent]:
        reader, slack_ms = Reader(), group.slack_ms
        self.hub.join_group(whose, reader, group)
        try:
            while reader.has_missed:
                reader.begin_anew()
                async with aclosing(self._rest_of(whose, places, reader, slack_ms)) as events:
                    async for event in events:
                        if cursor := places.note(event):
                            yield PlacedEvent(event, cursor)
            async with aclosing(reader.events()) as events:
                async for event in events:
                    if cursor := places.note(event):
                        yield PlacedEvent(event, cursor)
            raise ReaderTooSlow(places.cursor)
        finally:
            self.hub.leave_group(whose, reader)

    async def _rest_of(
        self, whose: Whose, places: RunPlaces, reader: Reader, slack_ms: int
    ) -> AsyncGenerator[RunEvent]:
        """Yield what there is of each run that is not known to be over, and have the reader follow those that live."""
        runs = _first_of(places, slack_ms)
        while runs:
            for last in runs:
                if places.is_over(last):
                    continue
                join = partial(self.hub.join_run_of_group, whose, last, reader)
                rest = CatchUp(self.hub, last, places.place_in(last), join)
                async with aclosing(rest.events()) as events:
                    async for event in events:
                        yield event
                if rest.is_over:
                    places.note_over(last)
            async with self._in_turn() as connection:
                runs = await read_runs_of(connection, whose, after=last)

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[Statements]:
        async with self._turns, self.database.statements() as connection:
            yield connection


def _first_of(places: RunPlaces, slack_ms: int) -> Sequence[RunId]:
    """Tell with which runs to begin, in the order in which they are read; behind the last of them all are."""
    if places.floor is not None:
        return [*places.alive, places.floor]
    return [FIRST if places.cursor is None else before(places.cursor.run_id, slack_ms)]
