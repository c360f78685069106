"""The fleet's description as it is known now: fetched in the background, joined when something changed, remembered.

A request for it costs nothing and waits for nobody. An upstream that stops answering keeps its last description, marked
as stale; one that describes itself badly keeps the others from nothing. All of it is per worker process.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from app.infra.observability.health import NotWell
from app.infra.openapi.document import LIMIT_BYTES, Document, read_document
from app.infra.openapi.join import join
from app.infra.openapi.news import SAY_S
from app.infra.openapi.operations import Joined
from app.infra.openapi.ports import DescribeOwn, DescriptionUnusable, Fleet, Own
from app.infra.openapi.projection import Source
from app.kernel.clock import Clock
from app.kernel.errors import Unavailable

REFRESH_S = 10.0
FIRST_RETRY_S = 0.5
LOOK_S = 0.25
"""how soon a changed table is seen"""
FETCH_TIMEOUT_S = 8.0
FIRST_JOIN_TIMEOUT_S = 10.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Known:
    """What is known of one upstream: its last good description, and why there is no newer one."""

    document: Document | None = None
    digest: bytes = b""
    failure: str = "has not been asked yet"
    stale_since: datetime | None = None

    @property
    def is_fresh(self) -> bool:
        return not self.failure


@dataclass(slots=True)
class FleetDescription:
    """Concurrency: `keep` is the only writer, and runs once; everything else reads.

    Nothing is joined before `introduce` was called. `say` is told the digest of what is joined, again and again.
    """

    fleet: Fleet
    clock: Clock
    say: Callable[[str], None] = lambda _: None
    joined: Joined = field(default_factory=Joined)
    _own: Own | None = None
    _describe_own: DescribeOwn | None = None
    _known: dict[str, _Known] = field(default_factory=dict)
    _joined_table: object = None
    _has_news: bool = False
    _said_at_s: float = 0.0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _is_joined: asyncio.Event = field(default_factory=asyncio.Event)

    def introduce(self, describe_own: DescribeOwn) -> None:
        """Say how our own operations are described; asked once, in a thread."""
        self._describe_own = describe_own
        self._announce()

    async def current(self) -> Joined:
        """Read the description; only the first requests of a process may have to wait. Errors: Unavailable."""
        if not self._is_joined.is_set():
            try:
                async with asyncio.timeout(FIRST_JOIN_TIMEOUT_S):
                    await self._is_joined.wait()
            except TimeoutError:
                raise Unavailable("The description is not ready yet.", headers={"retry-after": "5"}) from None
        return self.joined

    async def keep(self) -> None:
        """Follow every upstream that publishes a description, and the table; never returns."""
        followed: dict[str, tuple[object, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._follow(followed, group)
                if self._describe_own is not None and (self._has_news or self.fleet.table() is not self._joined_table):
                    await self._join(self._describe_own)
                    self._say()
                elif time.monotonic() - self._said_at_s >= SAY_S:
                    self._say()
                await self._wait_for_news()

    async def check(self) -> str:
        """Tell of every upstream's description how it is. Errors: NotWell when one is stale or missing."""
        words = [_describe(name, known, self.joined) for name, known in sorted(self._known.items())]
        if not all(known.is_fresh for known in self._known.values()):
            raise NotWell("; ".join(words))
        return "; ".join(words) or "no upstream publishes one"

    def _follow(self, followed: dict[str, tuple[object, asyncio.Task[None]]], group: asyncio.TaskGroup) -> None:
        """Start to follow what is new or stands elsewhere now; forget what is gone."""
        publishers = self.fleet.publishers()
        for name, (publisher, task) in list(followed.items()):
            if publishers.get(name) is not publisher:
                task.cancel()
                del followed[name]
        for name in self._known.keys() - publishers.keys():
            del self._known[name]
            self._announce()
        for name, publisher in publishers.items():
            if name not in followed:
                known = self._known.setdefault(name, _Known())
                followed[name] = publisher, group.create_task(self._refresh_on(name, known), name=f"openapi {name}")

    async def _refresh_on(self, name: str, known: _Known) -> None:
        failures = 0
        while True:
            failures = 0 if await self._refresh(name, known) else failures + 1
            await asyncio.sleep(_pause_s(failures))

    async def _refresh(self, name: str, known: _Known) -> bool:
        """Ask once; tell whether it is well."""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                body = await self.fleet.fetch(name, limit_bytes=LIMIT_BYTES)
            digest = hashlib.sha256(body).digest()
            if digest != known.digest or known.document is None:
                known.document, known.digest = await asyncio.to_thread(read_document, body), digest
                self._announce()
        except (DescriptionUnusable, TimeoutError) as error:
            self._note_failure(name, known, str(error) or f"was not complete within {FETCH_TIMEOUT_S:g} s")
            return False
        if not known.is_fresh:
            log.info("description.fetched", upstream=name, operations=len(known.document.operations))
            known.failure, known.stale_since = "", None
            self._announce()
        return True

    def _note_failure(self, name: str, known: _Known, failure: str) -> None:
        if known.failure != failure:
            log.warning("description.unusable", upstream=name, cause=failure, is_kept=known.document is not None)
        known.failure = failure
        if known.document is not None and known.stale_since is None:
            known.stale_since = self.clock.now()
            self._announce()

    async def _join(self, describe_own: DescribeOwn) -> None:
        self._has_news = False
        table = self.fleet.table()
        sources = [
            Source(name, known.document, known.stale_since) for name, known in self._known.items() if known.document
        ]
        if self._own is None:
            self._own = await asyncio.to_thread(describe_own)
        self.joined = await asyncio.to_thread(join, self._own, sources, self.fleet.finder())
        self._joined_table = table
        self._is_joined.set()

    def _say(self) -> None:
        if self._is_joined.is_set():
            self._said_at_s = time.monotonic()
            self.say(self.joined.etag)

    def _announce(self) -> None:
        self._has_news = True
        self._news.set()

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()


def _pause_s(failures: int) -> float:
    """Tell how long to wait: soon after the first failures, ever later then; never in step with other workers."""
    wait_s = min(REFRESH_S, FIRST_RETRY_S * 2 ** min(failures - 1, 10)) if failures else REFRESH_S
    return wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def _describe(name: str, known: _Known, joined: Joined) -> str:
    routed = sum(1 for _ in joined.operations_of(name))
    counts = f"{routed} of {joined.described.get(name, 0)} operations have a route"
    if name in joined.cut:
        counts += ", and they are too large to be joined all"
    if known.is_fresh:
        return f"{name}: {counts}"
    if known.document is None:
        return f"{name}: its description {known.failure}"
    since = f"{known.stale_since:%Y-%m-%dT%H:%M:%SZ}" if known.stale_since else "now"
    return f"{name}: stale since {since}, as it {known.failure}; {counts}"
