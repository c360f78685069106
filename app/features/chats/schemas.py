"""What clients send and get about chats and messages; interface contracts, field by field.

Rule: what may be stored is decided by the domain; here are shapes, and the lengths a client may want to know.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, Self, cast
from uuid import UUID

import msgspec.structs
from msgspec import UNSET, Meta, Struct, UnsetType

from app.features.chats.domain.attached import AT_ONCE, Attached
from app.features.chats.domain.chat import CONTEXT_LIMIT_BYTES, TITLE_LIMIT_CHARS, Chat, ChatChange, NewChat
from app.features.chats.domain.interaction import Step
from app.features.chats.domain.message import (
    CONTENT_LIMIT_CHARS,
    Message,
    MessageChange,
    MessageRole,
    MessageStatus,
    NewMessage,
)
from app.features.chats.domain.search import FoundChat
from app.features.chats.domain.turn import CHANNEL_LIMIT_CHARS, Wish
from app.features.chats.use_cases.read_interactions import InteractionStretch
from app.features.chats.use_cases.read_messages import Stretch
from app.features.runs.use_cases.await_run import TIMEOUT_S
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.ids import AttachmentId, ChatId, MessageId, UserId
from app.kernel.paging import Page
from app.kernel.values import KEPT, Json

type Title = Annotated[str, Meta(max_length=TITLE_LIMIT_CHARS)]
type Context = Annotated[str, Meta(max_length=CONTEXT_LIMIT_BYTES)]
type Content = Annotated[str, Meta(min_length=1, max_length=CONTENT_LIMIT_CHARS)]
type Files = Annotated[Sequence[UUID], Meta(max_length=AT_ONCE)]
type Channel = Annotated[str, Meta(max_length=CHANNEL_LIMIT_CHARS)]
USER_ID_LIMIT_CHARS = 255
LONGEST_WAIT_S = 300
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")


class ListedChatOut(Struct, frozen=True, kw_only=True):
    """A chat without what is pinned to it, which may be long. `branch` is the one it goes on in."""

    id: int
    user_id: str
    title: str | None
    agent: str | None
    metadata: dict[str, object]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    branch: int

    @classmethod
    def of(cls, chat: Chat) -> Self:
        return cls(
            id=chat.id,
            user_id=chat.user_id,
            title=chat.title,
            agent=chat.agent,
            metadata=dict(chat.metadata),
            created_at=chat.created_at,
            updated_at=chat.updated_at,
            deleted_at=chat.deleted_at,
            branch=chat.branch,
        )


class ChatOut(ListedChatOut, frozen=True, kw_only=True):
    """`context` is what is pinned to it; a list leaves it out."""

    context: str | None = None

    @classmethod
    def of(cls, chat: Chat) -> Self:
        return msgspec.structs.replace(super().of(chat), context=chat.context)


class MatchOut(Struct, frozen=True, kw_only=True):
    """A message that was found; `snippet` is plain text around the first word that was, not marked."""

    message_id: int
    role: MessageRole
    snippet: str
    created_at: datetime


class FoundChatOut(ListedChatOut, frozen=True, kw_only=True):
    """A chat that was found; `matches` are its newest, and empty where only its title has the words."""

    matches: Sequence[MatchOut] = ()

    @classmethod
    def of_found(cls, found: FoundChat) -> Self:
        matches = [
            MatchOut(message_id=one.message_id, role=one.role, snippet=one.snippet, created_at=one.created_at)
            for one in found.matches
        ]
        return msgspec.structs.replace(cls.of(found.chat), matches=matches)


class FoundChatsOut(Struct, frozen=True):
    items: Sequence[FoundChatOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[FoundChat]) -> Self:
        return cls([FoundChatOut.of_found(one) for one in page.items], page.total, page.limit, page.offset)


class AttachedOut(Struct, frozen=True, kw_only=True):
    """A file that was given with a message, and may have been deleted since."""

    id: str
    name: str
    media_type: str
    size_bytes: int

    @classmethod
    def of(cls, file: Attached) -> Self:
        return cls(id=str(file.id), name=file.name, media_type=file.media_type, size_bytes=file.size_bytes)


class MessageOut(Struct, frozen=True, kw_only=True):
    """`run_id` is the run that asks, or has answered; null for messages of no run.

    `versions` are the alternatives at its place in the chat, itself among them, in the order they were made. They are
    told where a chat's messages are read in order; empty elsewhere, and where there is just one.
    """

    id: int
    chat_id: int
    role: MessageRole
    content: str
    in_prompt: bool
    run_id: str | None = None
    status: MessageStatus
    attachments: Sequence[AttachedOut] = ()
    created_at: datetime
    updated_at: datetime
    branch: int
    versions: Sequence[int] = ()

    @classmethod
    def of(cls, message: Message, versions: Sequence[MessageId] = ()) -> Self:
        return cls(
            id=message.id,
            chat_id=message.chat_id,
            role=message.role,
            content=message.content,
            in_prompt=message.in_prompt,
            run_id=None if message.run_id is None else str(message.run_id),
            status=message.status,
            attachments=[AttachedOut.of(file) for file in message.attachments],
            created_at=message.created_at,
            updated_at=message.updated_at,
            branch=message.branch,
            versions=versions,
        )


class ChatPageOut(Struct, frozen=True):
    items: Sequence[ListedChatOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Chat]) -> Self:
        return cls([ListedChatOut.of(chat) for chat in page.items], page.total, page.limit, page.offset)


class MessagePageOut(Struct, frozen=True):
    items: Sequence[MessageOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Message]) -> Self:
        return cls([MessageOut.of(message) for message in page.items], page.total, page.limit, page.offset)


class MessagesOut(Struct, frozen=True):
    """A stretch of a chat in order; ask again with `after` set to `next`, which is null at the end."""

    items: Sequence[MessageOut]
    next: int | None

    @classmethod
    def of(cls, stretch: Stretch) -> Self:
        told = [MessageOut.of(message, stretch.versions.get(message.id, ())) for message in stretch.items]
        return cls(told, stretch.next)


class StepOut(Struct, frozen=True, kw_only=True):
    """A thought, a piece of the answer, or a call with what came of it; `request` counts the model's requests."""

    type: Literal["thought", "text", "call"]
    request: int | None
    text: str
    tool_call_id: str | None
    tool: str | None
    arguments: object
    result: object
    is_error: bool | None
    approval: str | None

    @classmethod
    def of(cls, step: Step) -> Self:
        return cls(
            type=step.type,
            request=step.request if isinstance(step.request, int) else None,
            text=step.text,
            tool_call_id=step.tool_call_id,
            tool=step.tool,
            arguments=step.arguments,
            result=step.result,
            is_error=step.is_error,
            approval=step.approval if isinstance(step.approval, str) else None,
        )


class InteractionOut(Struct, frozen=True, kw_only=True):
    """`is_whole` is false where there were more steps than are told, or what was told of the run is forgotten."""

    input: MessageOut
    answer: MessageOut
    steps: Sequence[StepOut]
    is_whole: bool


class InteractionsOut(Struct, frozen=True):
    """A stretch of a chat's answers in order; ask again with `after` set to `next`, which is null at the end."""

    items: Sequence[InteractionOut]
    next: int | None

    @classmethod
    def of(cls, stretch: InteractionStretch) -> Self:
        items = [
            InteractionOut(
                input=MessageOut.of(one.question),
                answer=MessageOut.of(one.answer),
                steps=[StepOut.of(step) for step in one.steps],
                is_whole=one.is_whole,
            )
            for one in stretch.items
        ]
        return cls(items, stretch.next)


class ChatCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """`context` is shown to the model of every turn, behind its instructions; at most 32 KB in UTF-8."""

    title: Title | None = None
    agent: str | None = None
    metadata: dict[str, object] = {}
    context: Context | None = None
    user_id: int | str | UnsetType = UNSET

    def draft(self, *, creator: UserId) -> NewChat:
        owner = creator if self.user_id is UNSET else user_id_of(self.user_id)
        return NewChat(user_id=owner, title=self.title, agent=self.agent, metadata=self.metadata, context=self.context)


class ChatUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """What is not named stays; null gives the chat back to the default agent, and removes what is pinned. A title that
    null empties is made anew at the end of the next turn.
    """

    title: Title | UnsetType | None = UNSET
    agent: str | UnsetType | None = UNSET
    metadata: dict[str, object] | UnsetType = UNSET
    context: Context | UnsetType | None = UNSET

    def change(self) -> ChatChange:
        return ChatChange(
            title=KEPT if self.title is UNSET else self.title,
            agent=KEPT if self.agent is UNSET else self.agent,
            metadata=KEPT if self.metadata is UNSET else self.metadata,
            context=KEPT if self.context is UNSET else self.context,
        )


class MessageCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """`chat_id` repeats the path, for clients of the original."""

    role: MessageRole
    content: Content
    chat_id: int | UnsetType = UNSET

    def draft(self, chat_id: ChatId) -> NewMessage:
        _refuse([*_chat_id_problems(self.chat_id, chat_id)])
        return NewMessage(chat_id, self.role, self.content)


class MessageUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    content: Content | UnsetType = UNSET
    in_prompt: bool | UnsetType = UNSET

    def change(self) -> MessageChange:
        return MessageChange(
            content=None if self.content is UNSET else self.content,
            in_prompt=None if self.in_prompt is UNSET else self.in_prompt,
        )


class TurnOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a turn is begun, whatever it is about.

    `on_busy`: whether a chat that is in the middle of a turn refuses, or lets this one wait behind it.
    `on_disconnect`: whether the run goes on when this client leaves early; a background one has no such client.
    `context_data` and `channel` (by which door the words came) are shown to the model in this turn, and in no other.
    `timeout_s`: for how long a sync one waits for the answer, before it is told of the run instead.
    """

    run_mode: Literal["sync", "background"] = "sync"
    on_busy: Literal["refuse", "queue"] = "refuse"
    on_disconnect: Literal["continue", "cancel"] = "continue"
    timeout_s: Annotated[float, Meta(gt=0, le=LONGEST_WAIT_S)] = TIMEOUT_S
    context_data: dict[str, object] = {}
    channel: Channel = ""

    def wish_for(
        self, text: str, *, request_id: str, problems: Sequence[FieldError] = (), files: Sequence[UUID] = ()
    ) -> Wish:
        """Errors: ValidationFailed, for those problems and for what contradicts itself."""
        found = [*problems]
        if self.run_mode == "background" and self.on_disconnect == "cancel":
            found.append(FieldError("on_disconnect", "must be continue: nobody stays for a background run"))
        _refuse(found)
        return Wish(
            text=text,
            waits=self.on_busy == "queue",
            is_cancelled_on_leaving=self.on_disconnect == "cancel",
            channel=self.channel,
            context=cast("Mapping[str, Json]", self.context_data),
            request_id=request_id,
            attachments=tuple(AttachmentId(one) for one in files),
        )


class SayIn(TurnOptions, frozen=True, kw_only=True):
    """`attachments` are ids of files of one's own, which the model is shown with the words, and again while there is
    room.
    """

    content: Content
    attachments: Files = ()


class ExchangeIn(SayIn, frozen=True, kw_only=True):
    """`chat_id` and `role` repeat what is clear anyway, for clients of the original."""

    chat_id: int | UnsetType = UNSET
    role: MessageRole | UnsetType = UNSET

    def wish(self, chat_id: ChatId, *, request_id: str) -> Wish:
        """Errors: ValidationFailed, for what contradicts the path or itself."""
        problems = _chat_id_problems(self.chat_id, chat_id)
        if self.role not in (UNSET, MessageRole.USER):
            problems.append(FieldError("role", "must be user: the answer is the agent's"))
        return self.wish_for(self.content, request_id=request_id, problems=problems, files=self.attachments)


def user_id_of(given: int | str) -> UserId:
    """Read an id as a token's `sub` may spell it; numbers are taken as their digits. Errors: ValidationFailed."""
    text = str(given)
    if not 0 < len(text) <= USER_ID_LIMIT_CHARS or _CONTROL.search(text):
        message = f"must have 1 to {USER_ID_LIMIT_CHARS} characters and no control characters"
        raise ValidationFailed("Some fields are not valid.", errors=[FieldError("user_id", message)])
    return UserId(text)


def _chat_id_problems(given: int | UnsetType, in_path: ChatId) -> list[FieldError]:
    return [] if given in (UNSET, in_path) else [FieldError("chat_id", "contradicts the path")]


def _refuse(problems: Sequence[FieldError]) -> None:
    if problems:
        raise ValidationFailed("Some fields are not valid.", errors=problems)
