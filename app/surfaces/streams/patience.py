"""Waiting for something in a client's name, for as long as the client and this process are there."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from app.edge.asgi_client import ClientGone, Receive
from app.kernel.draining import Draining

DRAINING_PATIENCE_S = 5.0


class ProcessGoing(Exception):
    """This process is about to stop, and what was waited for did not come in the time that is left."""


@dataclass(frozen=True, slots=True)
class Patience:
    draining: Draining
    draining_patience_s: float = DRAINING_PATIENCE_S

    async def wait[T](self, work: Awaitable[T], receive: Receive) -> T:
        """Wait for `work`, and cancel it when there is nobody to wait for.

        The request's body must have been read. Errors: ClientGone, ProcessGoing; what `work` raises, as it is.
        """
        try:
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(_until_gone(receive)), group.create_task(self._until_going())]
                try:
                    return await work
                finally:
                    for task in others:
                        task.cancel()
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
        # outside the handler: the group would become the context of one of its own members
        raise first

    async def _until_going(self) -> None:
        await self.draining.wait()
        await asyncio.sleep(self.draining_patience_s)
        raise ProcessGoing


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientGone
