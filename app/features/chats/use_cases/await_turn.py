"""Wait for the end of a turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.chats.domain.message import Message, MessageNotFound, TurnLost
from app.features.chats.domain.turn import Begun, Exchange
from app.features.chats.ports import MessageStore
from app.features.runs.domain.agent_work import AGENT_FAILURES
from app.features.runs.use_cases.await_run import TIMEOUT_S, AwaitRun, Failures
from app.kernel.errors import Fault
from app.kernel.transaction import Begin

KNOWN_FAILURES: Sequence[type[Fault]] = (*AGENT_FAILURES, MessageNotFound, TurnLost)
"""What may end a turn; clients are told the same by the run's error and by a sync exchange."""
_FAILURES = Failures(KNOWN_FAILURES, stopped=TurnLost)


@dataclass(frozen=True, slots=True)
class AwaitTurn:
    """Give both sides of a turn when it is answered; None when it is not over in time, or waits for a person.

    Errors: what ended the turn otherwise, TurnLost where it was stopped; StorageUnavailable.
    """

    begin: Begin
    messages: MessageStore
    await_run: AwaitRun

    async def __call__(self, begun: Begun, *, timeout_s: float = TIMEOUT_S) -> Exchange | None:
        is_done = await self.await_run(begun.run_id, timeout_s=timeout_s, failures=_FAILURES)
        return await self._read(begun) if is_done else None

    async def _read(self, begun: Begun) -> Exchange:
        question = begun.question
        async with self.begin() as tx:
            said = await self.messages.read_turn(tx, question.chat_id, question.id, begun.run_id, branch=begun.branch)
        match said:
            case [Message() as asked, Message() as answer]:
                return Exchange(asked, answer)
            case _:
                raise TurnLost("The chat was removed before the answer could be read.")
