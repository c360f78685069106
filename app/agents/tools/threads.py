"""Threads for functions that block: bounded, left behind by who is cancelled, no hindrance to a process's end.

Facts
- A thread cannot be stopped. Whoever waits for one may leave; its place is taken until its function ends.
- The threads of `asyncio.to_thread` and of anyio are joined when the interpreter ends, so one that hangs would keep the
  process; these are daemons. anyio gives a place back when who waits is cancelled, which is no bound.
"""

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread

import anyio


class Threads:
    """Concurrency: for one event loop."""

    def __init__(self, limit: int) -> None:
        self._places = anyio.CapacityLimiter(limit)

    async def run(self, call: Callable[[], object]) -> object:
        """Call it in a thread, when there is a place for one. Errors: what it raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[object] = loop.create_future()
        place = object()
        await self._places.acquire_on_behalf_of(place)

        def finish(report: Callable[[], None]) -> None:
            self._places.release_on_behalf_of(place)
            if not done.done():  # nobody waits any more
                report()

        def work() -> None:
            try:
                report = partial(done.set_result, context.run(call))
            except Exception as error:  # noqa: BLE001 - passed on to who waits
                report = partial(done.set_exception, error)
            except BaseException as error:  # noqa: BLE001 - a function in a thread does not end the program
                report = partial(done.set_exception, RuntimeError(repr(error)))
            with suppress(RuntimeError):  # the loop is closed: the program ends
                loop.call_soon_threadsafe(finish, report)

        context = contextvars.copy_context()
        try:
            Thread(target=work, name="tool", daemon=True).start()
        except RuntimeError:
            self._places.release_on_behalf_of(place)
            raise
        return await done
