"""A changed file: a valid table takes the old one's place between two requests, a wrong one is refused with the reason.

Reading, checking and compiling are done in a thread; on the loop only the one value is swapped. What is no longer in
the table is drained: requests that were matched before keep their upstream until they end.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from app.edge.edge import Edge
from app.edge.file_watch import FileWatch
from app.edge.health import watch_upstreams
from app.edge.routes import RouteRegistry
from app.edge.table import Table
from app.edge.upstream_rows import UpstreamTableRow
from app.edge.upstreams import Upstream, renew_upstreams
from app.infra.observability.health import HealthRegistry, NotWell, Wellness
from app.kernel.identity import RoleTable

LOOK_INTERVAL_S = 0.025
"""a change is seen at the second look at the latest, and live within 100 ms"""
DRAIN_S = 3600
"""for streams and tunnels of an upstream that is gone; requests are long over by then"""
HEALTH_TYPE = "route-table"

log = structlog.get_logger()


class TableRefused(Exception):
    """The file cannot take the place of what is served; `problems` are lines for an operator."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class ReloadAsked(asyncio.Event):
    """Set, on the loop's thread, to have the file read again whether or not it looks changed."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a file says, checked and compiled. `settings_kept` names the settings that only a restart would change."""

    registry: RouteRegistry
    upstreams: Mapping[str, UpstreamTableRow]
    roles: RoleTable
    settings_kept: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Reload:
    """A file that was taken, or refused for these problems; `digest` is of its content."""

    file: str
    digest: str
    generation: int
    problems: Sequence[str] = ()


type OnReload = Callable[[Reload], None]
"""Told of each, on the loop's thread; returns at once and never raises."""

type ReadDraft = Callable[[bytes | None], Draft]
"""Called in a thread with the file's content, or None where it could not be read. Errors: TableRefused."""


@dataclass(frozen=True, slots=True)
class Prepared:
    draft: Draft
    table: Table
    leaving: Sequence[Upstream]


@dataclass(slots=True)
class TableReload:
    """Concurrency: `run` is the one that replaces the edge's table."""

    edge: Edge
    watch: FileWatch
    read: ReadDraft
    health: HealthRegistry
    asked: ReloadAsked
    on_reload: OnReload
    _refused: TableRefused | None = None
    _replaced: RouteRegistry | None = None

    async def run(self) -> None:
        """Look for ever; what a change leaves to do is done beside it."""
        async with asyncio.TaskGroup() as beside:
            while True:
                await asyncio.sleep(LOOK_INTERVAL_S)
                if self._has_news():
                    for upstream in await self._follow():
                        beside.create_task(_drain(upstream))
                    beside.create_task(self._show())

    async def describe(self) -> str:
        """Say what is served. Errors: NotWell while the file holds something else, which was refused."""
        table = self.edge.table
        words = f"{len(table.registry.routes)} routes, generation {table.generation}"
        if self._refused is not None:
            raise NotWell(f"{words} are served; {self.watch.file} was refused: {self._refused}")
        return words

    def _has_news(self) -> bool:
        if self.asked.is_set():
            self.asked.clear()
            self.watch.read_again()
            return True
        return self.watch.has_changed()

    async def _follow(self) -> Sequence[Upstream]:
        """Take the file's table or refuse it; tell which upstreams it left without a row."""
        started_s = time.monotonic()
        try:
            prepared = await asyncio.to_thread(self._prepare, self.watch.content)
        except TableRefused as refused:
            self._refused = refused
            log.warning("table.refused", file=str(self.watch.file), problems=refused.problems)
            self._note(self.edge.table.generation, refused.problems)
            return ()
        self._refused = None
        self._swap(prepared)
        self._tell(prepared, seconds=time.monotonic() - started_s)
        self._note(prepared.table.generation, ())
        return prepared.leaving

    async def _show(self) -> None:
        """Have the health registry find out now, rather than when it is everybody's turn."""
        news = [one for one in self.health.dependencies if one.type == HEALTH_TYPE or one.status is Wellness.UNKNOWN]
        await self.health.check(news)

    def _prepare(self, content: bytes | None) -> Prepared:
        """Errors: TableRefused."""
        draft = self.read(content)
        before = self.edge.table
        if before.registry.routes and not draft.registry.routes:
            # what a file that was emptied to be written anew looks like
            raise TableRefused(["routes: there are none; a table without any is taken at start only"])
        self._replaced = before.registry  # the one before it is freed here: of 5,000 rows that takes 5 ms
        upstreams, leaving = renew_upstreams(before.upstreams, draft.upstreams)
        return Prepared(draft, Table(draft.registry, upstreams, before.generation + 1), leaving)

    def _swap(self, prepared: Prepared) -> None:
        """Rows, upstreams and groups change in one step of the loop."""
        self.edge.table = prepared.table
        self.edge.tokens.follow(replace(self.edge.tokens.rules, roles=prepared.draft.roles))
        watch_upstreams(self.health, lambda: self.edge.upstreams)

    def _note(self, generation: int, problems: Sequence[str]) -> None:
        digest = hashlib.sha256(self.watch.content or b"").hexdigest()
        self.on_reload(Reload(str(self.watch.file), digest, generation, problems))

    def _tell(self, prepared: Prepared, *, seconds: float) -> None:
        table, draft = prepared.table, prepared.draft
        log.info(
            "table.reloaded",
            file=str(self.watch.file),
            generation=table.generation,
            routes=len(table.registry.routes),
            upstreams_leaving=[upstream.name for upstream in prepared.leaving],
            seconds=round(seconds, 3),
        )
        if draft.settings_kept:
            log.warning("table.settings_need_restart", settings=draft.settings_kept)


async def _drain(upstream: Upstream) -> None:
    # not closed at the end: who was matched a moment before the swap may try again after the last one left
    try:
        await upstream.drain(DRAIN_S)
    except asyncio.CancelledError:
        await upstream.aclose()
        raise
