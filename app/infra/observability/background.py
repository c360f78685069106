"""Background work, in one place: started by name, started again when it fails, cancelled together at the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

FIRST_INTERVALS_S = (0.25, 0.5, 1, 2, 2, 5)
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30

log = structlog.get_logger()

type Loop = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Background:
    """The supervised task group of one process. A loop that raises is logged and started again, ever more slowly."""

    _loops: dict[str, Loop] = field(default_factory=dict)
    _has_begun: bool = False

    def add(self, name: str, loop: Loop) -> None:
        """Add work before `running` is entered; a loop that returns is done.

        Errors: RuntimeError afterwards. Whatever brings background work must be made before the process begins.
        """
        if self._has_begun:
            raise RuntimeError(f"the background work {name!r} came too late: make what brings it at the start")
        self._loops[name] = loop

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work for as long as the block; what that raises passes as it is."""
        self._has_begun = True
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_keep_running(name, loop), name=name) for name, loop in self._loops.items()]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
        else:
            return
        # outside the handler: the group would become the context of one of its own members
        raise first


def every(interval_s: float, act: Loop) -> Loop:
    """Make a loop that acts at once, often while everything starts, and then every so many seconds."""

    async def loop() -> None:
        waits = iter(FIRST_INTERVALS_S)
        while True:
            await act()
            await asyncio.sleep(min(interval_s, next(waits, interval_s)))

    return loop


async def _keep_running(name: str, loop: Loop) -> None:
    wait_s = FIRST_WAIT_S
    while True:
        try:
            await loop()
        except Exception:
            log.exception("background.failed", loop=name, again_in_s=wait_s)
        else:
            return
        await asyncio.sleep(wait_s)
        wait_s = min(LONGEST_WAIT_S, wait_s * 2)
