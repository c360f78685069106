"""What a message is, what may be written into it, and what became of the turn it belongs to."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.features.chats.domain.attached import Attached
from app.kernel.errors import Conflict, FieldError, NotFound
from app.kernel.ids import ChatId, MessageId, RunId, UserId
from app.kernel.storable import text_problem

CONTENT_LIMIT_CHARS = 100_000


class MessageRole(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class MessageStatus(StrEnum):
    """What became of a message's turn.

    A question is PENDING while it waits for its turn and while its agent thinks, FAILED when the agent could not
    answer, INTERRUPTED when the run was cancelled, or its chat deleted. An answer has the status of its turn; one that
    is not COMPLETE is the part of it that was said. Only COMPLETE messages are shown to a model.
    """

    COMPLETE = "complete"
    PENDING = "pending"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing said. `in_prompt` is false where the owner keeps it out of what models see, and where an answer was
    replaced by another one to the same question. `run_id` is the run that asks, or has answered; None outside of runs.
    `attachments` are what was given with it, whatever became of the files since.
    `branch` is that of its chat to which it belongs.
    """

    id: MessageId
    chat_id: ChatId
    role: MessageRole
    content: str
    in_prompt: bool
    status: MessageStatus
    created_at: datetime
    updated_at: datetime
    run_id: RunId | None = None
    attachments: tuple[Attached, ...] = ()
    branch: int = 0


class Said(Protocol):
    """What a model is shown of a message: a history is read on every exchange, so a store may leave out the rest."""

    @property
    def role(self) -> MessageRole: ...
    @property
    def content(self) -> str: ...
    @property
    def attachments(self) -> tuple[Attached, ...]: ...


@dataclass(frozen=True, slots=True)
class SaidBefore:
    role: MessageRole
    content: str
    attachments: tuple[Attached, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnedMessage:
    """A message with the owner of its chat, who is its owner too, and what is pinned to that chat."""

    message: Message
    owner: UserId
    pinned: str | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    chat_id: ChatId
    role: MessageRole
    content: str
    status: MessageStatus = MessageStatus.COMPLETE
    run_id: RunId | None = None
    attachments: tuple[Attached, ...] = ()

    def problems(self) -> list[FieldError]:
        return content_problems(self.content)


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """What an agent said to a question, as far as it came; it stands in its question's place in a model's history.

    `branch` is that of its run, which need not be the question's.
    """

    question: MessageId
    content: str
    status: MessageStatus
    run_id: RunId
    branch: int = 0


@dataclass(frozen=True, slots=True)
class MessageChange:
    """None leaves a field as it is."""

    content: str | None = None
    in_prompt: bool | None = None

    def problems(self) -> list[FieldError]:
        return [] if self.content is None else content_problems(self.content)


class MessageNotFound(NotFound):
    type = "message-not-found"
    title = "There is no such message"


class TurnLost(Conflict):
    """The run was cancelled, or its chat deleted, before the agent had answered."""

    type = "turn-lost"
    title = "The turn was ended before it was answered"


def content_problems(content: str) -> list[FieldError]:
    problem = text_problem(content, at_least=1, at_most=CONTENT_LIMIT_CHARS)
    return [FieldError("content", problem)] if problem else []
