"""How a follower comes to where the hub reads: page by page, then once more for what came before it joined."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from app.infra.events.hub import EventHub
from app.infra.events.ports import RunEvent
from app.kernel.ids import RunId


@dataclass(slots=True)
class CatchUp:
    """`join` is told up to where was read, has the reader's queue filled, and tells from where on that is.

    `is_over`: the run says nothing more, and nobody joined.
    """

    hub: EventHub
    run_id: RunId
    after: int
    join: Callable[[int], int]
    is_over: bool = False

    async def events(self) -> AsyncGenerator[RunEvent]:
        joined_at: int | None = None
        while joined_at is None or self.after < joined_at:
            page = await self.hub.ask(self.run_id, after=self.after)
            for event in page.events:
                self.after = event.seq
                yield event
            if page.has_more:
                continue
            if page.is_over:
                self.is_over = True
                return
            if joined_at is None:
                joined_at = self.join(self.after)
