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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable
from app.infra.db.hints import PostgresHints
from app.infra.events.channel import EVENTS, parts_of
from app.infra.events.ports import RunEvent
from app.infra.events.readers import Reader
from app.infra.events.reads import Page, read_moved, read_new_in_chats, read_runs
from app.kernel.ids import ChatId, RunId

POLL_S = 1.0
BATCH = 200
AWAY_S = 0.3

log = structlog.get_logger()


@dataclass(slots=True)
class _Run:
    """A followed run; everything up to `seq` was read. `chat_id` is that of a followed chat."""

    seq: int
    chat_id: ChatId | None = None
    readers: set[Reader] = field(default_factory=set)


@dataclass(slots=True)
class _Chat:
    """A followed chat: its readers follow each of its runs that is alive; `newest` is the last run that is known."""

    newest: RunId
    readers: set[Reader] = field(default_factory=set)
    runs: set[RunId] = field(default_factory=set)


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
    _chats: dict[ChatId, _Chat] = field(default_factory=dict)
    _asked: deque[_Asked] = field(default_factory=deque)
    _moved: dict[RunId, None] = field(default_factory=dict)  # in the order in which they said something
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _is_all_due: bool = False

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

    def join_chat(self, chat_id: ChatId, reader: Reader, *, newest: RunId) -> None:
        """Have a reader follow the runs that come to a chat behind `newest`, and those of it that others follow."""
        chat = self._chats.setdefault(chat_id, _Chat(newest))
        chat.readers.add(reader)
        for run_id in chat.runs:
            self._runs[run_id].readers.add(reader)

    def join_run_of_chat(self, chat_id: ChatId, run_id: RunId, reader: Reader, after: int) -> int:
        seq = self.join(run_id, reader, after)
        self._runs[run_id].chat_id = chat_id
        self._chats[chat_id].runs.add(run_id)
        return seq

    def leave_chat(self, chat_id: ChatId, reader: Reader) -> None:
        chat = self._chats.get(chat_id)
        if chat is None:
            return
        chat.readers.discard(reader)
        for run_id in list(chat.runs):
            self.leave(run_id, reader)
        if not chat.readers:
            del self._chats[chat_id]

    async def work(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            await self._wait(due_s - loop.time())
            try:
                if self._is_all_due or loop.time() >= due_s:
                    self._is_all_due = False
                    due_s = loop.time() + random.uniform(0.8, 1.2) * self.poll_s  # noqa: S311 not a secret
                    await self._look_at_all()
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
        if not self._runs and not self._chats:
            return
        known = {run_id: run.seq for run_id, run in self._runs.items()}
        newest = {chat_id: chat.newest for chat_id, chat in self._chats.items()}
        async with self.database.statements() as connection:
            if known:
                for run_id in await read_moved(connection, known):
                    self._note(run_id)
            if newest:
                for chat_id, run_id in await read_new_in_chats(connection, newest):
                    self._welcome(chat_id, run_id)

    async def _read(self) -> None:
        """Read for some of those who asked, and some of those who said something."""
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
            _push(run.readers, event, size_bytes)
        if page.has_more:
            self._note(run_id)
        elif page.is_over:
            self._forget(run_id)

    def _hear(self, words: Sequence[str]) -> None:
        """Heed a hint; LOOK and words that are none of ours have everything looked at."""
        for word in words:
            try:
                run, chat = parts_of(word)
            except ValueError:
                self._is_all_due = True
                self._news.set()
                continue
            if chat is not None:
                self._welcome(chat, run)
            self._note(run)

    def _welcome(self, chat_id: ChatId, run_id: RunId) -> None:
        """Follow a run that came to a followed chat, from its first event on, also where it is followed by itself."""
        chat = self._chats.get(chat_id)
        if chat is None or run_id <= chat.newest:
            return
        chat.newest = run_id
        for reader in chat.readers:
            self.join_run_of_chat(chat_id, run_id, reader, 0)
        self._runs[run_id].seq = 0
        self._note(run_id)

    def _note(self, run_id: RunId) -> None:
        if run_id in self._runs:
            self._moved[run_id] = None
            self._news.set()

    def _forget(self, run_id: RunId) -> None:
        run = self._runs.pop(run_id, None)
        self._moved.pop(run_id, None)
        if run is not None and run.chat_id is not None and run.chat_id in self._chats:
            self._chats[run.chat_id].runs.discard(run_id)

    def _fail_asked(self, lost: StorageUnavailable) -> None:
        while self._asked:
            asked = self._asked.popleft()
            if not asked.page.done():
                asked.page.set_exception(lost)


def _push(readers: Iterable[Reader], event: RunEvent, size_bytes: int) -> None:
    for reader in readers:
        reader.push(event, size_bytes)
