"""What a chat is, who may touch it, and what its fields may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.kernel.errors import Conflict, FieldError, NotFound
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, UserId
from app.kernel.storable import json_problem, text_problem
from app.kernel.values import KEPT, Kept

TITLE_LIMIT_CHARS = 200
METADATA_LIMIT_BYTES = 16 * 1024
CONTEXT_LIMIT_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation of one person. `agent` is None for whichever agent is the default at the time of the turn.

    `context` is what is pinned to it, for the model of every turn to have in mind.
    `branch` is the one it goes on in, of `branches` that were made beside the one it began with.
    """

    id: ChatId
    user_id: UserId
    title: str | None
    agent: str | None
    metadata: Mapping[str, object]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    context: str | None = None
    branch: int = 0
    branches: int = 0


@dataclass(frozen=True, slots=True)
class NewChat:
    user_id: UserId
    title: str | None = None
    agent: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    context: str | None = None

    def problems(self) -> list[FieldError]:
        """List every field that cannot be stored."""
        return [*title_problems(self.title), *metadata_problems(self.metadata), *context_problems(self.context)]


@dataclass(frozen=True, slots=True)
class ChatChange:
    title: str | Kept | None = KEPT
    agent: str | Kept | None = KEPT
    metadata: Mapping[str, object] | Kept = KEPT
    context: str | Kept | None = KEPT

    def problems(self) -> list[FieldError]:
        title = [] if self.title is KEPT else title_problems(self.title)
        metadata = [] if self.metadata is KEPT else metadata_problems(self.metadata)
        context = [] if self.context is KEPT else context_problems(self.context)
        return [*title, *metadata, *context]


class ChatNotFound(NotFound):
    type = "chat-not-found"
    title = "There is no such chat"


class ChatBusy(Conflict):
    type = "chat-busy"
    title = "The chat is in the middle of a turn"


def may_touch(who: Principal, chat: Chat) -> bool:
    return who.is_admin or owns(who, chat)


def owns(who: Principal, chat: Chat) -> bool:
    return chat.user_id == who.user_id


def title_problems(title: str | None) -> list[FieldError]:
    problem = None if title is None else text_problem(title, at_least=0, at_most=TITLE_LIMIT_CHARS)
    return [FieldError("title", problem)] if problem else []


def metadata_problems(metadata: Mapping[str, object]) -> list[FieldError]:
    problem = json_problem(metadata, limit_bytes=METADATA_LIMIT_BYTES)
    return [FieldError("metadata", problem)] if problem else []


def context_problems(context: str | None) -> list[FieldError]:
    if context is None:
        return []
    # each character takes a byte at least, so that what is far too long is not encoded
    problem = text_problem(context, at_least=0, at_most=CONTEXT_LIMIT_BYTES)
    if problem is None and len(context.encode()) > CONTEXT_LIMIT_BYTES:
        problem = f"must have at most {CONTEXT_LIMIT_BYTES} bytes in UTF-8"
    return [FieldError("context", problem)] if problem else []
