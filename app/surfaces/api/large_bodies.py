"""How many large bodies one process takes in at once: each is in memory as a whole until it is kept.

Who waits for a place has been let in, and nothing of the body has been read. A handler that takes larger bodies than
others says so by `opt={"body_limit": (bytes, fact)}`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from dishka import AsyncContainer
from litestar.connection import ASGIConnection
from litestar.types import ASGIApp, Receive, Scope, Send

from app.kernel.errors import Unavailable
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.surfaces.api.dependencies import guard_access

MOST = 16
MOST_OF_ONE = 6
"""as many connections as a browser opens to one host"""
MAX_WAITING = 64
PATIENCE_S = 10.0


class UploadsBusy(Unavailable):
    type = "uploads-busy"
    title = "Too many large bodies are being sent"


@dataclass(slots=True)
class LargeBodies:
    """Places for large bodies, and among them for those of one person.

    Concurrency: one a process, on its event loop.
    """

    most: int = MOST
    most_of_one: int = MOST_OF_ONE
    max_waiting: int = MAX_WAITING
    patience_s: float = PATIENCE_S
    _places: asyncio.Semaphore = field(init=False)
    _of_one: WeakValueDictionary[UserId, asyncio.Semaphore] = field(init=False, default_factory=WeakValueDictionary)
    _waiting: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.most)

    @asynccontextmanager
    async def place(self, owner: UserId) -> AsyncIterator[None]:
        """Hold a place for as long as the block. Errors: UploadsBusy, at once where too many wait, or after a while."""
        own = self._of_one.get(owner)
        if own is None:
            own = self._of_one[owner] = asyncio.Semaphore(self.most_of_one)
        async with AsyncExitStack() as held:
            await self._take(held, own, self._places)
            yield

    async def _take(self, held: AsyncExitStack, *places: asyncio.Semaphore) -> None:
        if self._waiting >= self.max_waiting:
            raise _busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self.patience_s):
                for place in places:
                    await held.enter_async_context(place)
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1


class BoundLargeBodies:
    """The Litestar middleware; it stands before whatever reads bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler, principal = scope["route_handler"], scope["state"].get("principal")
        if "body_limit" not in handler.opt or not isinstance(principal, Principal):
            await self._app(scope, receive, send)
            return
        await guard_access(ASGIConnection(scope), handler)
        container: AsyncContainer = scope["litestar_app"].state.dishka_container
        bodies = await container.get(LargeBodies)
        async with bodies.place(principal.user_id):
            await self._app(scope, receive, send)


def _busy() -> UploadsBusy:
    return UploadsBusy("Send it again in a moment.", headers={"retry-after": "2"})
