"""A run as the journal of a turn: what the turn says becomes events, what it has done becomes steps."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.agents.contract import AgentFailed
from app.agents.turns import InDoubt, TurnEvent
from app.features.runs.domain.agent_work import ANSWER_LIMIT_CHARS
from app.features.runs.domain.repetition import DELTAS, Telling, text_of
from app.infra.durable.ports import RunContext, StepInDoubt, StepKey
from app.infra.events.ports import EventType, NewEvent
from app.kernel.storable import storable_text
from app.kernel.values import Json

PIECE_LIMIT_CHARS = 8 * 1024
"""of one delta: an event may have 64 KB, and six bytes stand for a character that JSON has to escape"""


class Batch(Protocol):
    """Events on their way into the log, the first of a kind at once, others soon."""

    async def add(self, event: NewEvent) -> None: ...

    async def flush(self) -> None:
        """Return when everything added is committed."""
        ...


@dataclass(frozen=True, slots=True)
class TurnJournal:
    """Implements `agents.turns.Journal`. Concurrency: of one turn, so of one task at a time."""

    context: RunContext
    batch: Batch
    telling: Telling

    @property
    def is_resumed(self) -> bool:
        return self.context.job.epoch > 1

    async def step(
        self,
        name: str,
        body: Callable[[str], Awaitable[Json]],
        *,
        is_idempotent: bool = True,
        only_reads: bool = False,
    ) -> Json:
        async def doing(key: StepKey) -> Json:
            result = await body(str(key))
            await self.settle()  # before the step is written down: behind it nothing of it will be said again
            return result

        try:
            return await self.context.step(name, doing, is_idempotent=is_idempotent, only_reads=only_reads)
        except StepInDoubt as doubt:
            raise InDoubt(doubt.key.name) from doubt

    async def tell(self, event: TurnEvent) -> None:
        for piece in _storable(event):
            await self._say(self.telling.tell(piece))
        if self.telling.answer_chars > ANSWER_LIMIT_CHARS:
            raise AgentFailed("The agent's answer is too long to keep.")

    async def wait(self, key: str, *, until: datetime) -> Json:
        await self.settle()  # what was said is shown before the turn leaves its process
        return await self.context.wait(key, until=until)

    async def settle(self) -> None:
        """Return when everything that was said is shown, or known to have been."""
        await self._say(self.telling.end_requests())
        await self.batch.flush()

    async def _say(self, events: Sequence[TurnEvent]) -> None:
        for event in events:
            await self.batch.add(NewEvent(EventType(event.type), event.data))


def _storable(event: TurnEvent) -> Sequence[TurnEvent]:
    """Make of a delta what can be kept, so that the message and its deltas are the same; in pieces of bounded size."""
    if event.type not in DELTAS:
        return (event,)
    text = storable_text(text_of(event))
    pieces = [text[start : start + PIECE_LIMIT_CHARS] for start in range(0, len(text), PIECE_LIMIT_CHARS)]
    return [TurnEvent(event.type, {**event.data, "text": piece}) for piece in pieces]
