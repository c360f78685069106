"""Writes that are not given up half way: who is cancelled while he writes goes, and the write is done all the same.

Without this a cancelled writer could not tell whether his event has a number, and would leave it out or say it twice.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from app.infra.db.errors import StorageUnavailable

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0

type Work[T] = Callable[[], Awaitable[T]]


@dataclass(slots=True)
class _Failed:
    error: BaseException


@dataclass(slots=True)
class Writes:
    """Those of one run, one after another. `group` outlives the run's handler."""

    group: asyncio.TaskGroup
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def do[T](self, work: Work[T]) -> T:
        """Errors: what the work raises."""
        done = await asyncio.shield(self.group.create_task(self._in_turn(work)))
        if isinstance(done, _Failed):
            raise done.error
        return done

    async def finished(self) -> None:
        """Wait for what is under way."""
        async with self._turn:
            return

    async def _in_turn[T](self, work: Work[T]) -> T | _Failed:
        async with self._turn:
            try:
                return await work()
            except BaseException as error:  # noqa: BLE001 the writer's, who may be gone; never the group's
                return _Failed(error)


async def patiently[T](work: Work[T], *, patience_s: float) -> T:
    """Do something again while the database is away. Errors: StorageUnavailable when that takes too long."""
    end_s = time.monotonic() + patience_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await work()
        except StorageUnavailable:
            if time.monotonic() + pause_s > end_s:
                raise
        await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 not a secret
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
