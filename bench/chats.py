"""What a long chat costs: opening it, paging through it, searching in it, and reading the history of a turn.

Facts
- The chat has 10,000 messages of realistic sizes: questions of a line or a few, answers of a paragraph or a page.
  Beside it stand as many of other people's, with the same words.
- They are written straight into the server's database, which then looks at them as it does every now and then.
- All but the history is asked of the real server, on a kept-alive connection; the history is read as a worker reads it.
"""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import text

from app.features.chats.domain.history import HISTORY_LIMIT_BYTES, HISTORY_LIMIT_MESSAGES
from app.features.chats.repository.messages import PostgresMessageStore
from app.infra.db.embedded.postgres import EmbeddedPostgres
from app.infra.db.engine import Database, DatabaseOptions, session_of
from app.kernel.ids import ChatId, MessageId
from bench.gateway import running_gateway
from bench.issuer import Issuer
from bench.system import Caller

MESSAGES = 10_000
OTHERS = 100
"""other people, who have as many messages together"""
PAGE = 50
TIMES = 200
WARM_UP = 20
GOAL_MS = 50.0
RARE, MIDDLE = "quetzalcoatl", 5_000
"""a word of one message, and where that stands"""
LETTERS = "etaoinshrdlu"

_ADD = text("""
INSERT INTO messages (chat_id, role, content, status)
SELECT :chat, CASE WHEN number % 2 = 1 THEN 'user' ELSE 'assistant' END, content, 'complete'
FROM unnest(CAST(:contents AS text[])) WITH ORDINALITY AS said(content, number)""")
_ADD_CHAT = text("INSERT INTO chats (user_id, metadata) VALUES (:owner, '{}') RETURNING id")
_IDS = text("SELECT id FROM messages WHERE chat_id = :chat ORDER BY id")


@dataclass(frozen=True, slots=True)
class Measured:
    name: str
    taken_ms: Sequence[float]
    has_goal: bool = True

    @property
    def median_ms(self) -> float:
        return statistics.median(self.taken_ms)

    @property
    def is_missed(self) -> bool:
        return self.has_goal and self.median_ms >= GOAL_MS

    def __str__(self) -> str:
        p95 = statistics.quantiles(self.taken_ms, n=20)[18]
        goal = f"  (goal: under {GOAL_MS:g} ms, {'MISSED' if self.is_missed else 'met'})" if self.has_goal else ""
        return f"{self.name:34} median {self.median_ms:7.2f} ms, p95 {p95:7.2f} ms{goal}"


def run() -> int:
    issuer = Issuer.generate()
    with running_gateway(issuer) as gateway:
        token = issuer.token("owner")
        opened = Caller.open(gateway.url, token).call("POST", "/api/v1/chats/", {"agent": "echo"})
        chat_id, database = ChatId(json.loads(opened)["id"]), _Database(gateway.log.parent)
        ids = asyncio.run(database.fill(chat_id))
        served = _served(Caller.open(gateway.url, token), chat_id, ids)
        measured = [*served, asyncio.run(database.history(chat_id, ids[-1]))]
    for one in measured:
        print(one)
    return 1 if any(one.is_missed for one in measured) else 0


def _served(caller: Caller, chat_id: ChatId, ids: Sequence[MessageId]) -> Sequence[Measured]:
    chat = f"/api/v1/chats/{chat_id}"

    def page(after: int) -> None:
        caller.call("GET", f"{chat}/messages?limit={PAGE}&after={after}")

    def opened() -> None:
        caller.call("GET", chat)
        page(0)

    def search(words: str, *, at_least: int) -> Callable[[], None]:
        def act() -> None:
            found = json.loads(caller.call("GET", f"/api/v1/chats/search?q={quote(words)}"))
            if found["total"] != 1 or len(found["items"][0]["matches"]) < at_least:
                raise RuntimeError(f"the search for {words!r} found {found['total']} chats")

        return act

    words = _Words()
    often, seldom = words.known[0], words.known[3000]
    return (
        _measured("opening: the chat, and a first page", opened),
        _measured("a page in the middle", lambda: page(ids[MESSAGES // 2])),
        _measured("the last page", lambda: page(ids[-PAGE - 1])),
        _measured("search: a word of nearly all", search(often, at_least=3)),
        _measured("search: a word of some", search(seldom, at_least=3)),
        _measured("search: a word of one", search(RARE, at_least=1)),
        _measured("search: how a word begins", search(RARE[:6], at_least=1)),
        _measured("search: two words", search(f"{often} {seldom}", at_least=1)),
    )


class _Words:
    """Texts of words that are as unequally frequent as those of a language; the same in every run."""

    def __init__(self) -> None:
        self._random = random.Random(7)
        sizes = [2 + at % 8 for at in range(8000)]
        self.known = list(dict.fromkeys("".join(self._random.choices(LETTERS, k=size)) for size in sizes))
        self._frequencies = list(accumulate(1 / (at + 3) for at in range(len(self.known))))

    def text(self, at_least: int, at_most: int) -> str:
        count = self._random.randint(at_least, at_most) // 6
        return " ".join(self._random.choices(self.known, cum_weights=self._frequencies, k=max(count, 1)))

    def said(self, number: int) -> str:
        return self.text(40, 400) if number % 2 == 0 else self.text(300, 3000)


class _Database:
    """The server's own, seen from the side."""

    def __init__(self, folder: Path) -> None:
        self._options = DatabaseOptions(dsn=EmbeddedPostgres(folder / "postgres").dsn)

    async def fill(self, chat_id: ChatId) -> Sequence[MessageId]:
        """Write the chat and those of others; give the ids of its messages."""
        words = _Words()
        mine = [words.said(number) for number in range(MESSAGES)]
        mine[MIDDLE] += f" {RARE}"
        database = Database(self._options)
        for start in range(0, MESSAGES, 500):
            async with database.begin() as tx:
                await session_of(tx).execute(_ADD, {"chat": chat_id, "contents": mine[start : start + 500]})
        for other in range(OTHERS):
            async with database.begin() as tx:
                added = await session_of(tx).execute(_ADD_CHAT, {"owner": f"other-{other}"})
                others = [words.said(number) for number in range(MESSAGES // OTHERS)]
                await session_of(tx).execute(_ADD, {"chat": added.scalar_one(), "contents": others})
        async with database.begin() as tx:
            await session_of(tx).execute(text("ANALYZE messages, chats"))
            ids = [MessageId(id_) for id_ in (await session_of(tx).execute(_IDS, {"chat": chat_id})).scalars()]
        await database.aclose()
        return ids

    async def history(self, chat_id: ChatId, last: MessageId) -> Measured:
        database, store = Database(self._options), PostgresMessageStore()
        limits = {"limit_messages": HISTORY_LIMIT_MESSAGES, "limit_bytes": HISTORY_LIMIT_BYTES}

        async def read() -> None:
            async with database.begin() as tx:
                await store.read_history(tx, chat_id, before=last, branch=0, **limits)

        taken = [await _timed(read) for _ in range(WARM_UP + TIMES)][WARM_UP:]
        await database.aclose()
        return Measured("the history of a turn", taken, has_goal=False)


def _measured(name: str, act: Callable[[], None]) -> Measured:
    taken: list[float] = []
    for _ in range(WARM_UP + TIMES):
        started = time.perf_counter()
        act()
        taken.append((time.perf_counter() - started) * 1000)
    return Measured(name, taken[WARM_UP:])


async def _timed(act: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await act()
    return (time.perf_counter() - started) * 1000
