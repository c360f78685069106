"""Hints between processes: "there is something new about this", by NOTIFY, on one connection a process.

Facts
- Each commit that notifies takes one lock of the whole server (PostgreSQL source, `PreCommit_Notify`). So none of our
  transactions does: they are collected after the commits and sent together, a few at once, more one in 3 ms.
- A payload is shorter than 8000 bytes (PostgreSQL documentation, NOTIFY). Words are short, many to a payload.
- A hint may be lost: with the process behind a commit, with the connection, or because too many waited. Whoever hears
  hints also looks by himself from time to time, and is told to look when a lost connection is back (the word "").
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable, translated
from app.infra.db.listening import listening, own_engine
from app.kernel.pace import Pace

PAUSE_S = 0.003
AT_ONCE = 8
"""A turn's first steps come within milliseconds of each other, and somebody waits for each."""
SEND_TIMEOUT_S = 3
PROBE_S = 15
RECONNECT_S = 0.5
RENEW_S = 3600
MAX_WAITING = 10_000
MAX_PAYLOAD_BYTES = 7_000
LOOK: Final = ""
"""The word that means: anything may have happened."""

_NOTIFY = text("SELECT pg_notify(c, p) FROM unnest(CAST(:channels AS text[]), CAST(:payloads AS text[])) AS n(c, p)")

log = structlog.get_logger()

type OnWords = Callable[[Sequence[str]], None]
"""Is handed the words, on the event loop; must not block."""


class PostgresHints:
    """Concurrency: one a process, on its event loop; `follow` runs once and holds one connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard_by: dict[str, list[OnWords]] = {}
        self._waiting: dict[tuple[str, str], None] = {}  # in the order they came
        self._is_anything = asyncio.Event()
        self._pace = Pace(PAUSE_S, AT_ONCE)
        self._is_lost = False
        self._listens = asyncio.Event()

    def hear(self, channel: str, on_words: OnWords) -> None:
        """Be told what is sent on a channel, soon."""
        self._heard_by.setdefault(channel, []).append(on_words)
        self._is_anything.set()

    def send(self, channel: str, *words: str) -> None:
        """Send soon; words have no space in them."""
        if len(self._waiting) + len(words) > MAX_WAITING:
            words = (LOOK,)
        for word in words:
            self._waiting[channel, word] = None
        self._is_anything.set()

    @property
    def is_idle(self) -> bool:
        """Whether what is sent now goes out at once: then a word may be longer than it has to be."""
        return not self._waiting

    async def listens(self) -> None:
        """Wait until hints are heard."""
        await self._listens.wait()

    async def follow(self) -> None:
        engine = own_engine(self._database.options)
        try:
            while True:
                try:
                    with translated():
                        await self._follow(engine)
                except StorageUnavailable as lost:
                    self._note_lost(lost)
                    await asyncio.sleep(RECONNECT_S)
        finally:
            await engine.dispose()

    async def _follow(self, engine: AsyncEngine) -> None:
        """Hear and send until it is time for a new connection."""
        async with listening(engine, on_lost=self._is_anything.set) as heard:
            await heard.connection.execute(text("SET synchronous_commit = off"))  # a hint is not worth a disk
            channels: set[str] = set()
            end_s = time.monotonic() + RENEW_S
            while time.monotonic() < end_s:
                for channel in self._heard_by.keys() - channels:
                    channels.add(channel)
                    await heard.add(channel, partial(_tell_payload, self._heard_by[channel]))
                    _tell(self._heard_by[channel], (LOOK,))
                self._note_back()
                await self._send_on(heard.connection)

    async def _send_on(self, connection: AsyncConnection) -> None:
        """Send what waits; after a silence, or woken for nothing, make sure that the connection is still there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_S):
                await self._is_anything.wait()
        self._is_anything.clear()
        if not self._waiting:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await connection.execute(text("SELECT 1"))
            return
        sent = dict(self._waiting)
        self._waiting.clear()
        pairs = list(_payloads(sent))
        values = {"channels": [channel for channel, _ in pairs], "payloads": [payload for _, payload in pairs]}
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await connection.execute(_NOTIFY, values)
        await asyncio.sleep(self._pace.next_s(time.monotonic()))

    def _note_lost(self, lost: StorageUnavailable) -> None:
        self._listens.clear()
        if not self._is_lost:
            log.warning("hints.lost", **lost.evidence)
        self._is_lost = True

    def _note_back(self) -> None:
        self._listens.set()
        if self._is_lost:
            log.info("hints.heard_again")
        self._is_lost = False


def _tell_payload(listeners: Sequence[OnWords], payload: str) -> None:
    _tell(listeners, payload.split(" "))


def _tell(listeners: Sequence[OnWords], words: Sequence[str]) -> None:
    for on_words in listeners:
        on_words(words)


def _payloads(waiting: Mapping[tuple[str, str], None]) -> Iterator[tuple[str, str]]:
    by_channel: dict[str, list[str]] = {}
    for channel, word in waiting:
        by_channel.setdefault(channel, []).append(word)
    for channel, words in by_channel.items():
        for payload in _joined(words):
            yield channel, payload


def _joined(words: Sequence[str]) -> Iterator[str]:
    """Join words into payloads that are short enough; LOOK stands for all of them."""
    payload, size_bytes = "", 0
    words = [LOOK] if LOOK in words else words
    for word in words:
        more_bytes = 1 + len(word.encode())
        if payload and size_bytes + more_bytes > MAX_PAYLOAD_BYTES:
            yield payload
            payload, size_bytes = word, more_bytes
        else:
            payload, size_bytes = f"{payload} {word}" if payload else word, size_bytes + more_bytes
    yield payload
