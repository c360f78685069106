"""Events on their way into the log: what begins is written at once, what goes on a little later and together.

A language model speaks in pieces of a few characters, fifty a second. Written one by one each would cost a transaction,
and a row that is kept; so pieces of the same text are joined for 50 ms or until they are 2 KB.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from app.infra.events.ports import EventType, NewEvent
from app.kernel.values import Json

EVERY_S = 0.05
LIMIT_BYTES = 2 * 1024

_PIECES = frozenset({EventType.TEXT_DELTA, EventType.THINKING_DELTA, EventType.TOOL_OUTPUT_CHUNK})
"""whose `text` goes on where the last one's ended, if everything else they say is the same"""

type Append = Callable[[Sequence[NewEvent]], Awaitable[int]]
type _Of = tuple[EventType, Mapping[str, Json]]


@dataclass(slots=True)
class EventBatch:
    """Collects for one run; `append` is its context's `progress`.

    Order is kept. What `append` raised while nobody waited for it is raised by whichever call comes next.
    Concurrency: of one task; a write of its own may be under way beside it, for as long as `append` takes.
    """

    append: Append
    every_s: float = EVERY_S
    limit_bytes: int = LIMIT_BYTES
    _waiting: list[NewEvent] = field(init=False, default_factory=list)
    _bytes: int = field(init=False, default=0)
    _last_of: _Of | None = field(init=False, default=None)
    _written_s: float = field(init=False, default=-inf)
    _turn: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _later: asyncio.Task[None] | None = field(init=False, default=None)
    _failure: BaseException | None = field(init=False, default=None)

    async def add(self, event: NewEvent) -> None:
        """Errors: what `append` raises."""
        self._raise_what_failed()
        of = _of(event)
        goes_on = of is not None and of == self._last_of
        self._last_of = of
        self._take(event, of, goes_on=goes_on)
        loop = asyncio.get_running_loop()
        rest_s = self._written_s + self.every_s - loop.time()
        if not goes_on or self._bytes >= self.limit_bytes or rest_s <= 0:
            await self.flush()
        elif self._later is None:
            # not in a task group: it ends by itself, it is held here, and its failure is raised by the next call
            self._later = loop.create_task(self._flush_later(rest_s))
            self._later.add_done_callback(self._note_end)

    async def flush(self) -> None:
        """Return when everything that was added is committed. Errors: what `append` raises."""
        async with self._turn:
            self._raise_what_failed()
            events, self._waiting, self._bytes = self._waiting, [], 0
            if events:
                self._written_s = asyncio.get_running_loop().time()
                await self.append(events)

    def _take(self, event: NewEvent, of: _Of | None, *, goes_on: bool) -> None:
        text = str(event.data["text"]) if of is not None else ""
        self._bytes += len(text.encode("utf-8", "surrogatepass"))
        if goes_on and self._waiting:
            text = str(self._waiting.pop().data["text"]) + text
            event = NewEvent(event.type, {**event.data, "text": text})
        self._waiting.append(event)

    async def _flush_later(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await self.flush()

    def _note_end(self, later: asyncio.Task[None]) -> None:
        self._later = None
        if not later.cancelled():
            self._failure = self._failure or later.exception()

    def _raise_what_failed(self) -> None:
        if self._failure is not None:
            raise self._failure


def _of(event: NewEvent) -> _Of | None:
    """Tell what a piece of text is a piece of; None for what is no piece."""
    if event.type not in _PIECES or not isinstance(event.data.get("text"), str):
        return None
    return event.type, {name: value for name, value in event.data.items() if name != "text"}
