"""What the use cases of chats ask of the outside: stores that live inside a transaction, and the message hook.

Rule: a store never decides who may see what. Use cases do, before they change anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from app.features.chats.domain.chat import Chat, ChatChange, NewChat
from app.features.chats.domain.message import Message, MessageChange, MessageStatus, NewMessage, OwnedMessage, Said
from app.kernel.ids import ChatId, MessageId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


class ChatStore(Protocol):
    """Chats. A deleted one is invisible except to `find_kept`. Ids may be any whole number; none is an error."""

    async def add(self, tx: Tx, draft: NewChat) -> Chat: ...

    async def find(self, tx: Tx, chat_id: ChatId) -> Chat | None: ...

    async def find_kept(self, tx: Tx, chat_id: ChatId) -> Chat | None:
        """Find a chat whether it is deleted or not."""
        ...

    async def list(self, tx: Tx, query: ListQuery, *, owner: UserId | None) -> Page[Chat]:
        """List one owner's chats, everybody's for None; the newest first unless the query orders otherwise."""
        ...

    async def update(self, tx: Tx, chat_id: ChatId, change: ChatChange) -> Chat | None: ...

    async def delete(self, tx: Tx, chat_id: ChatId) -> None:
        """Hide the chat and, with it, its messages; these are not touched themselves."""
        ...

    async def restore(self, tx: Tx, chat_id: ChatId) -> Chat | None: ...


class MessageStore(Protocol):
    """Messages. A deleted one, and any of a deleted chat, is invisible. Ids may be any whole number."""

    async def add(self, tx: Tx, draft: NewMessage) -> Message | None:
        """Append to the chat; None when there is no such chat.

        Concurrency: writers of one chat take turns, so ids and commits have the same order and a reader who follows
        by id misses nothing.
        """
        ...

    async def find(self, tx: Tx, message_id: MessageId) -> OwnedMessage | None: ...

    async def list(self, tx: Tx, query: ListQuery, *, chat_id: ChatId | None) -> Page[Message]: ...

    async def read_after(self, tx: Tx, chat_id: ChatId, *, after: int, limit: int) -> Sequence[Message]:
        """Read a chat in order, from the first message whose id is above `after`."""
        ...

    async def read_history(
        self, tx: Tx, chat_id: ChatId, *, before: MessageId, limit_messages: int, limit_bytes: int
    ) -> Sequence[Said]:
        """Read the newest complete messages before one that belong into a prompt; oldest first.

        Cost: one query; at most `limit_messages` rows and `limit_bytes` of content leave the database.
        """
        ...

    async def update(self, tx: Tx, message_id: MessageId, change: MessageChange) -> Message | None: ...

    async def settle(self, tx: Tx, message_id: MessageId, status: MessageStatus) -> Message | None:
        """Write down what became of the message's turn, even when the message was deleted meanwhile."""
        ...

    async def delete(self, tx: Tx, message_id: MessageId) -> None: ...


class TurnStore(Protocol):
    """The one turn a chat may have at a time, leased by the database's clock; `turn_id` is the fence."""

    async def take(self, tx: Tx, chat_id: ChatId, turn_id: UUID, *, lease: timedelta) -> bool:
        """Begin a turn; False when another one runs, or there is no such chat.

        What a crashed turn left pending becomes interrupted.
        """
        ...

    async def renew(self, tx: Tx, chat_id: ChatId, turn_id: UUID, *, lease: timedelta) -> bool:
        """Lengthen the lease; False when the turn is no longer ours, or the chat was deleted."""
        ...

    async def end(self, tx: Tx, chat_id: ChatId, turn_id: UUID) -> bool:
        """Free the chat; False when the turn is no longer ours."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A user's message as the hook passes it on."""

    user_id: UserId
    chat_id: ChatId
    message: str
    request_id: str = ""


class MessageHook(Protocol):
    """Somebody outside who wants to know of each user message of an exchange."""

    def capture(self, snapshot: Snapshot) -> None:
        """Note the message for later delivery; returns at once and never raises. May lose it when overloaded."""
        ...

    async def run(self) -> None:
        """Deliver what is captured, until cancelled; then deliver what is left for a moment."""
        ...
