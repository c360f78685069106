"""One place a process where events are read for all who follow: readers of a run share it, runs share statements.

Facts
- A hint names the runs that said something; they are read at once, and while a statement is under way hints pile up for
  the next one. Without hints every followed run is looked at once a second, all of them in one statement.
- A reader that catches up asks here too: a thousand clients that come back together are served by a few statements.
- A run is read from one place on for all who follow it. Who joins reads up to that place by himself first.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import structlog

from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable
from app.infra.db.hints import PostgresHints
from app.infra.events.channel import EVENTS, Word, parse
from app.infra.events.delivery import Delivery
from app.infra.events.groups import Group, Whose
from app.infra.events.readers import Reader
from app.infra.events.reads import Page, read_moved, read_new_in_chats, read_new_of_people, read_runs
from app.kernel.ids import ChatId, RunId, UserId

POLL_S = 1.0
BATCH = 200
AWAY_S = 0.3
PEOPLE_REST_S = 0.1
"""between two looks for new runs of people, however many hints there are"""

log = structlog.get_logger()


@dataclass(slots=True)
class _Run:
    """A followed run; everything up to `seq` was read. `groups` are the followed chat and person it belongs to."""

    seq: int
    groups: set[Whose] = field(default_factory=set)
    readers: set[Reader] = field(default_factory=set)


@dataclass(slots=True)
class _Asked:
    run_id: RunId
    after: int
    page: asyncio.Future[Page]


@dataclass(slots=True)
class EventHub:
    """Concurrency: one a process, on its event loop; `work` runs once."""

    database: Database
    hints: PostgresHints
    poll_s: float = POLL_S
    _runs: dict[RunId, _Run] = field(default_factory=dict)
    _groups: dict[Whose, Group] = field(default_factory=dict)
    _asked: deque[_Asked] = field(default_factory=deque)
    _delivery: Delivery = field(default_factory=Delivery)
    _moved: dict[RunId, None] = field(default_factory=dict)  # in the order in which they said something
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _is_all_due: bool = False
    _people_due_s: float = inf
    _people_rest_until_s: float = 0.0

    def __post_init__(self) -> None:
        self.hints.hear(EVENTS, self._hear)

    @property
    def followed(self) -> int:
        return len(self._runs)

    async def ask(self, run_id: RunId, *, after: int) -> Page:
        """Read on in a run. Errors: StorageUnavailable."""
        asked = _Asked(run_id, after, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self._news.set()
        return await asked.page

    def join(self, run_id: RunId, reader: Reader, after: int) -> int:
        """Fill a reader's queue with what the run says from now on; tell up to where the run was read before."""
        run = self._runs.get(run_id)
        if run is None:
            run = self._runs[run_id] = _Run(after)
            self._note(run_id)
        run.readers.add(reader)
        return run.seq

    def leave(self, run_id: RunId, reader: Reader) -> None:
        run = self._runs.get(run_id)
        if run is not None:
            run.readers.discard(reader)
            if not run.readers:
                self._forget(run_id)

    def join_group(self, whose: Whose, reader: Reader, group: Group) -> None:
        """Have a reader follow the runs that come to a group behind those it knows, and those that others follow."""
        group = self._groups.setdefault(whose, group)
        group.readers.add(reader)
        for run_id in group.runs:
            self._runs[run_id].readers.add(reader)

    def join_run_of_group(self, whose: Whose, run_id: RunId, reader: Reader, after: int) -> int:
        seq = self.join(run_id, reader, after)
        self._runs[run_id].groups.add(whose)
        self._groups[whose].runs.add(run_id)
        return seq

    def leave_group(self, whose: Whose, reader: Reader) -> None:
        group = self._groups.get(whose)
        if group is None:
            return
        group.readers.discard(reader)
        for run_id in list(group.runs):
            self.leave(run_id, reader)
        if not group.readers:
            del self._groups[whose]

    async def work(self) -> None:
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._delivery.work())
            loops.create_task(self._look())

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            await self._wait(min(due_s, self._people_due_s) - loop.time())
            try:
                if self._is_all_due or loop.time() >= due_s:
                    self._is_all_due = False
                    due_s = loop.time() + random.uniform(0.8, 1.2) * self.poll_s  # noqa: S311 not a secret
                    await self._look_at_all()
                if loop.time() >= self._people_due_s:
                    self._people_due_s, self._people_rest_until_s = inf, loop.time() + PEOPLE_REST_S
                    await self._look_at_people()
                await self._read()
            except StorageUnavailable as lost:
                self._fail_asked(lost)
                self._is_all_due = True
                await asyncio.sleep(AWAY_S)

    async def _wait(self, timeout_s: float) -> None:
        if self._asked or self._moved or self._is_all_due:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(max(0, timeout_s)):
                await self._news.wait()
        except TimeoutError:
            return

    async def _look_at_all(self) -> None:
        """Find out what happened without a hint."""
        if not self._runs and not self._groups:
            return
        known = {run_id: run.seq for run_id, run in self._runs.items()}
        newest = {ChatId(chat): group.floor for chat, group in self._groups.items() if not isinstance(chat, str)}
        async with self.database.statements() as connection:
            if known:
                for run_id in await read_moved(connection, known):
                    self._note(run_id)
            if newest:
                for chat_id, run_id in await read_new_in_chats(connection, newest):
                    self._welcome(chat_id, run_id)
        await self._look_at_people()

    async def _look_at_people(self) -> None:
        """Find new runs of those who are followed: a hint does not say whose a run is."""
        newest = {UserId(owner): group.floor for owner, group in self._groups.items() if isinstance(owner, str)}
        if newest:
            async with self.database.statements() as connection:
                for owner, run_id in await read_new_of_people(connection, newest):
                    self._welcome(owner, run_id)

    async def _read(self) -> None:
        """Read for some of those who asked, and some of those who said something."""
        await self._delivery.has_room()
        asked = [self._asked.popleft() for _ in range(min(BATCH // 2, len(self._asked)))]
        moved = list(self._moved)[: BATCH - len(asked)]
        for run_id in moved:
            del self._moved[run_id]
        wanted = [(one.run_id, one.after) for one in asked]
        wanted += [(run_id, self._runs[run_id].seq) for run_id in moved]
        if not wanted:
            return
        try:
            async with self.database.statements() as connection:
                pages = await read_runs(connection, wanted)
        except BaseException:
            self._asked.extendleft(reversed(asked))
            self._moved.update(dict.fromkeys(moved))
            raise
        for one, page in zip(asked, pages, strict=False):
            if not one.page.done():  # who asked may have gone
                one.page.set_result(page)
        for (run_id, after), page in zip(wanted[len(asked) :], pages[len(asked) :], strict=True):
            self._deliver(run_id, after, page)

    def _deliver(self, run_id: RunId, after: int, page: Page) -> None:
        run = self._runs.get(run_id)
        if run is None:
            return
        if run.seq != after:  # it is to be read from another place by now
            self._note(run_id)
            return
        for event, size_bytes in zip(page.events, page.sizes, strict=True):
            run.seq = event.seq
            self._delivery.hand(run.readers, event, size_bytes)
        if page.has_more:
            self._note(run_id)
        elif page.is_over:
            self._forget(run_id)

    def _hear(self, words: Sequence[str]) -> None:
        """Heed a hint; LOOK and words that are none of ours have everything looked at."""
        for word in words:
            try:
                heard = parse(word)
            except ValueError:
                self._is_all_due = True
                self._news.set()
                continue
            if heard.chat_id is not None:
                self._welcome(heard.chat_id, heard.run_id)
            if heard.run_id not in self._runs and self._people_due_s == inf:
                self._people_due_s = self._people_rest_until_s
                self._news.set()
            if not self._take(heard):
                self._note(heard.run_id)

    def _take(self, heard: Word) -> bool:
        """Deliver what a hint tells, if it is what comes next; what it leaves out, or comes behind that, is read.

        What is known already needs nothing.
        """
        run = self._runs.get(heard.run_id)
        if run is None or not heard.first or self._delivery.is_full:
            return False
        if not heard.told:
            return heard.first <= run.seq
        try:
            told = heard.events()
        except ValueError:  # of another version
            return False
        if not told or told[0][0].seq != run.seq + 1:
            return bool(told) and told[-1][0].seq <= run.seq
        for event, size_bytes in told:
            run.seq = event.seq
            self._delivery.hand(run.readers, event, size_bytes)
        return True

    def _welcome(self, whose: Whose, run_id: RunId) -> None:
        """Follow a run that came to a followed group, from its first event on, also where it is followed by itself."""
        group = self._groups.get(whose)
        if group is None or not group.welcomes(run_id):
            return
        for reader in group.readers:
            self.join_run_of_group(whose, run_id, reader, 0)
        self._runs[run_id].seq = 0
        self._note(run_id)

    def _note(self, run_id: RunId) -> None:
        if run_id in self._runs:
            self._moved[run_id] = None
            self._news.set()

    def _forget(self, run_id: RunId) -> None:
        run = self._runs.pop(run_id, None)
        self._moved.pop(run_id, None)
        for whose in run.groups if run is not None else ():
            if whose in self._groups:
                self._groups[whose].runs.discard(run_id)

    def _fail_asked(self, lost: StorageUnavailable) -> None:
        while self._asked:
            asked = self._asked.popleft()
            if not asked.page.done():
                asked.page.set_exception(lost)
