"""A turn as a run: what is asked for, what its run is told, and how its end is told to whoever waited for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from app.features.chats.domain.attached import count_problems
from app.features.chats.domain.message import Message, MessageStatus
from app.features.runs.domain.agent_work import OrderUnreadable, authority_of
from app.infra.durable.ports import Job, RunState
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.errors import FieldError
from app.kernel.identity import Principal
from app.kernel.ids import AttachmentId, ChatId, MessageId, RunId
from app.kernel.storable import json_problem, text_problem
from app.kernel.values import Json

KIND = "turn"
CONTEXT_LIMIT_BYTES = 64 * 1024
CHANNEL_LIMIT_CHARS = 64
MAX_WAITING = 20
"""turns of one chat that may wait behind the one that runs"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks of a turn; `context` and `channel` are what the client adds to the words, `attachments` files.

    `waits` is whether it may stand in line behind the chat's other turns.
    """

    text: str
    waits: bool = False
    is_cancelled_on_leaving: bool = False
    context: Mapping[str, Json] = field(default_factory=dict)
    channel: str = ""
    request_id: str = ""
    attachments: Sequence[AttachmentId] = ()

    def problems(self) -> list[FieldError]:
        problem = json_problem(self.context, limit_bytes=CONTEXT_LIMIT_BYTES)
        channel = text_problem(self.channel, at_least=0, at_most=CHANNEL_LIMIT_CHARS)
        found = {"context_data": problem, "channel": channel}
        problems = [FieldError(field, problem) for field, problem in found.items() if problem]
        return [*problems, *count_problems(self.attachments)]


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that will be answered, whoever is there to hear it."""

    question: Message
    run_id: RunId
    branch: int = 0
    """to which the answer will belong"""


@dataclass(frozen=True, slots=True)
class Exchange:
    question: Message
    answer: Message


@dataclass(frozen=True, slots=True)
class Order:
    """What a turn's run is told: which question, on which branch, in whose name. Never the caller's token."""

    chat_id: ChatId
    question: MessageId
    authority: Authority
    request_id: str
    context: Mapping[str, Json] = field(default_factory=dict)
    channel: str = ""
    is_untitled: bool = False
    """whether the chat had no title when the turn was asked for"""
    branch: int = 0

    @classmethod
    def of(cls, job: Job) -> Self:
        """Errors: OrderUnreadable, for what this version has not written."""
        match job.input:
            case {"question_id": int(question), "request_id": str(request_id)}:
                pass
            case _:
                raise OrderUnreadable
        if job.chat_id is None:
            raise OrderUnreadable
        context, channel = job.input.get("context_data"), job.input.get("channel")
        branch = job.input.get("branch")  # a run of before there were any has none
        return cls(
            job.chat_id,
            MessageId(question),
            authority_of(job),
            request_id,
            context if isinstance(context, Mapping) else {},
            channel if isinstance(channel, str) else "",
            job.input.get("is_untitled") is True,
            branch if isinstance(branch, int) else 0,
        )


def input_of(
    wish: Wish, who: Principal, question: Message, *, branch: int, is_untitled: bool = False
) -> Mapping[str, Json]:
    """Write the same down. Errors: DelegatedTooDeep."""
    return {
        "question_id": question.id,
        INPUT_KEY: Authority.of(who).as_json(),
        "request_id": wish.request_id,
        "context_data": wish.context,
        "channel": wish.channel,
        "is_untitled": is_untitled,
        "branch": branch,
    }


STATUS_AT_END: Mapping[RunState, MessageStatus] = {
    RunState.COMPLETED: MessageStatus.COMPLETE,
    RunState.FAILED: MessageStatus.FAILED,
    RunState.INTERRUPTED: MessageStatus.INTERRUPTED,
}


def lane_of(chat_id: ChatId) -> str:
    return f"chat:{chat_id}"
