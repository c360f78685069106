"""Stops what was asked for with tokens that were withdrawn: what runs, and what waits and could go on later.

Facts
- Whoever accepted a token a moment before he heard of its withdrawal may put a run behind our look: so it is looked
  twice, the second time when everybody has heard.
- A revocation is forgotten when the tokens it means have expired, a run that waits for a person is not: one that was
  not stopped then would go on as if nothing had been.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from app.infra.durable.ports import Engine, RunNotFound
from app.kernel.authority import Authority
from app.kernel.errors import Unavailable
from app.kernel.identity import Principal
from app.kernel.ids import RunId, UserId
from app.kernel.revocation import Mark, Revocation

REASON = "token-withdrawn"
AGAIN_S = 2
RETRY_S = 0.5
MAX_OWNERS = 1000

log = structlog.get_logger()

type Refuses = Callable[[Principal], bool]


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is not over. Without an authority it was asked for in its owner's name when it was made."""

    id: RunId
    owner: UserId
    created_at: datetime
    authority: Authority | None = None

    @property
    def asker(self) -> Principal:
        """Give what a revocation is about: whose it is, and with which token it was asked for."""
        asked = self.authority or Authority(self.owner, (), issued_at=self.created_at.timestamp())
        return Principal(asked.user_id, "", frozenset(), 0, token_id=asked.token_id, issued_at=asked.issued_at)


class ActiveRuns(Protocol):
    async def read(self, owners: Sequence[str] | None, *, running: bool, after: RunId | None) -> Sequence[ActiveRun]:
        """Read a page of those that are running, or of those that are not, by their ids; empty behind the last one.

        With `owners` only theirs. Errors: StorageUnavailable.
        """
        ...


@dataclass(slots=True)
class StopWithdrawnRuns:
    """`hear` is told what was withdrawn, on the event loop; `work` stops the runs, until cancelled."""

    runs: ActiveRuns
    engine: Engine
    refuses: Refuses
    _owners: set[str] = field(default_factory=set)
    _is_about_all: bool = False
    _again: list[tuple[float, set[str] | None]] = field(default_factory=list)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, made: Sequence[Revocation]) -> None:
        self._owners |= {one.name for one in made if one.mark is Mark.SUBJECT}
        if len(self._owners) > MAX_OWNERS or any(one.mark is Mark.JWT_ID for one in made):
            self.look_at_all()
        self._told.set()

    def look_at_all(self) -> None:
        """Have every run looked at: nobody knows whose a single token is, or what was withdrawn before we began."""
        self._is_about_all = True
        self._told.set()

    async def work(self) -> None:
        while True:
            await self._wait()
            for owners in self._take():
                await self._stop_surely(owners)

    async def _wait(self) -> None:
        until_s = min((due_s for due_s, _ in self._again), default=None)
        timeout_s = None if until_s is None else max(0, until_s - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._told.wait()
        self._told.clear()

    def _take(self) -> Sequence[set[str] | None]:
        """Take what there is to be looked at now: these owners' runs, or with None everybody's."""
        now_s = time.monotonic()
        due = [owners for due_s, owners in self._again if due_s <= now_s]
        self._again = [(due_s, owners) for due_s, owners in self._again if due_s > now_s]
        if self._is_about_all or self._owners:
            new = None if self._is_about_all else self._owners
            self._owners, self._is_about_all = set(), False
            self._again.append((now_s + AGAIN_S, new))
            due.append(new)
        return due

    async def _stop_surely(self, owners: set[str] | None) -> None:
        while True:
            try:
                await self._stop(owners)
            except Unavailable as fault:
                log.warning("withdrawn_runs.not_stopped", again_in_s=RETRY_S, **fault.evidence)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _stop(self, owners: set[str] | None) -> None:
        """Errors: StorageUnavailable."""
        names = None if owners is None else sorted(owners)
        for running in (True, False):
            after = None
            while page := await self.runs.read(names, running=running, after=after):
                for run in page:
                    if self.refuses(run.asker):
                        await self._cancel(run)
                after = page[-1].id

    async def _cancel(self, run: ActiveRun) -> None:
        with suppress(RunNotFound):
            state = await self.engine.cancel(run.id, reason=REASON)
            log.info("run.stopped", run_id=str(run.id), owner=run.owner, reason=REASON, state=state)
