"""Wait for the end of a turn."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from app.features.chats.domain.message import Message, MessageNotFound, TurnLost
from app.features.chats.domain.turn import Begun, Exchange
from app.features.chats.ports import MessageStore
from app.features.runs.domain.agent_work import AGENT_FAILURES
from app.features.runs.domain.run import path_of
from app.features.runs.ports import RunStore
from app.infra.durable.ports import RunState
from app.infra.events.ports import LAST_WORDS, EventLog, EventType, ReaderTooSlow, RunEvent
from app.kernel.errors import Fault
from app.kernel.ids import RunId
from app.kernel.transaction import Begin
from app.kernel.values import Json

TIMEOUT_S = 60

KNOWN_FAILURES: Sequence[type[Fault]] = (*AGENT_FAILURES, MessageNotFound, TurnLost)
"""What may end a turn; clients are told the same by the run's error and by a sync exchange."""
_BY_TYPE = {fault.type: fault for fault in KNOWN_FAILURES}


@dataclass(frozen=True, slots=True)
class AwaitTurn:
    """Give both sides of a turn when it is answered; None when it is not over in time, or waits for a person.

    Holds no connection and no transaction while it waits: it follows the run's events like any other reader.
    Errors: what ended the turn otherwise; StorageUnavailable.
    """

    begin: Begin
    messages: MessageStore
    runs: RunStore
    log: EventLog

    async def __call__(self, begun: Begun, *, timeout_s: float = TIMEOUT_S) -> Exchange | None:
        end = _End()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while end.last is None and not end.is_waiting:
                    await self._follow(begun, end)
        if end.last is None:
            return None
        end.raise_failure(begun.run_id)
        return await self._read(begun)

    async def _follow(self, begun: Begun, end: "_End") -> None:
        with suppress(ReaderTooSlow):  # it goes on behind the last event that was taken
            async with aclosing(self.log.follow(begun.run_id, after=end.seq)) as events:
                async for event in events:
                    end.take(event)
                    if event.type is EventType.RUN_WAITING and await self._waits(begun.run_id):
                        end.is_waiting = True
                        return

    async def _waits(self, run_id: RunId) -> bool:
        """Tell whether a run waits now: what it said of that may be long ago."""
        async with self.begin() as tx:
            run = await self.runs.find(tx, run_id)
        return run is not None and run.status is RunState.WAITING

    async def _read(self, begun: Begun) -> Exchange:
        question = begun.question
        async with self.begin() as tx:
            said = await self.messages.read_turn(tx, question.chat_id, question.id, begun.run_id)
        match said:
            case [Message() as asked, Message() as answer]:
                return Exchange(asked, answer)
            case _:
                raise TurnLost("The chat was removed before the answer could be read.")


@dataclass(slots=True)
class _End:
    """What was heard of a run that matters when it is over."""

    seq: int = 0
    last: RunEvent | None = None
    is_waiting: bool = False
    _retry_after: str = ""

    def take(self, event: RunEvent) -> None:
        self.seq = event.seq
        if event.type in LAST_WORDS:
            self.last = event
        elif event.type is EventType.RUN_PROGRESS and "retry_after" in event.data:
            self._retry_after = str(event.data["retry_after"])

    def raise_failure(self, run_id: RunId) -> None:
        """Errors: the fault that ended the run, which names it; TurnLost where it was stopped."""
        if self.last is None or self.last.type is EventType.RUN_COMPLETED:
            return
        fault, detail = self._failure(self.last)
        headers = {"location": path_of(run_id)}
        if self._retry_after:
            headers["retry-after"] = self._retry_after
        raise fault(detail, headers=headers, members={"run_id": str(run_id)})

    def _failure(self, last: RunEvent) -> tuple[type[Fault], str]:
        if last.type is EventType.RUN_INTERRUPTED:
            return TurnLost, _sentence(last.data.get("reason"))
        error = last.data.get("error")
        told = error if isinstance(error, Mapping) else {}
        return _BY_TYPE.get(str(told.get("type")), RunBroken), str(told.get("detail", ""))


class RunBroken(Fault):
    """The run failed of something that is no fact of an agent's; its error says what was written down."""

    type = "run-broken"
    title = "The run could not be finished"


def _sentence(reason: Json) -> str:
    text = str(reason or "")
    return f"{text[0].upper()}{text[1:]}." if text else ""
