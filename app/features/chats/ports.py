"""What the use cases of chats ask of the outside: stores that live inside a transaction, and the message hook.

Rule: a store never decides who may see what. Use cases do, before they change anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.features.chats.domain.branch import Departure, Head, Position, Spot
from app.features.chats.domain.chat import Chat, ChatChange, NewChat
from app.features.chats.domain.message import (
    Message,
    MessageChange,
    MessageStatus,
    NewAnswer,
    NewMessage,
    OwnedMessage,
    Said,
)
from app.features.chats.domain.search import FoundChat
from app.kernel.ids import ChatId, MessageId, RunId, UserId
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
        """List one owner's chats, everybody's for None; the newest first unless the query orders otherwise.

        What is pinned to them is left out.
        """
        ...

    async def update(self, tx: Tx, chat_id: ChatId, change: ChatChange) -> Chat | None: ...

    async def delete(self, tx: Tx, chat_id: ChatId) -> None:
        """Hide the chat and, with it, its messages; these are not touched themselves."""
        ...

    async def restore(self, tx: Tx, chat_id: ChatId) -> Chat | None: ...

    async def entitle(self, tx: Tx, chat_id: ChatId, title: str) -> None:
        """Give the chat this title if it has none."""
        ...


class ChatSearch(Protocol):
    async def search(self, tx: Tx, words: str, *, owner: UserId, limit: int, offset: int) -> Page[FoundChat]:
        """Find the owner's chats with a message, or the title, that has all of the words, or words that begin so.

        They come by their newest such message; those of which only the title matches by when they were changed last.
        Shapes: at most MATCHES_LIMIT messages of each, the newest first. Words without a letter or digit find nothing.
        """
        ...


class MessageStore(Protocol):
    """Messages. A deleted one, and any of a deleted chat, is invisible. Ids may be any whole number."""

    async def add(self, tx: Tx, draft: NewMessage) -> Message | None:
        """Append to the branch the chat goes on in; None when there is no such chat.

        Concurrency: writers of one chat take turns, so ids and commits have the same order and a reader who follows
        by id misses nothing.
        """
        ...

    async def add_answer(self, tx: Tx, answer: NewAnswer) -> Message | None:
        """Append to the question's chat, be it or the question deleted or not; None when there is no such question."""
        ...

    async def replace_answers(self, tx: Tx, chat_id: ChatId, question: MessageId, *, branch: int) -> None:
        """Take the answers a question has by now on that branch out of the prompt."""
        ...

    async def read_turn(
        self, tx: Tx, chat_id: ChatId, question: MessageId, run_id: RunId, *, branch: int
    ) -> Sequence[Message]:
        """Read a question and what the run answered to it on that branch, deleted or not."""
        ...

    async def read_answers(
        self, tx: Tx, chat_id: ChatId, *, after: int, limit: int, branch: int
    ) -> Sequence[tuple[Message, Message]]:
        """Read the answers on a branch's path in order, each behind its question, from the first above `after`."""
        ...

    async def find(self, tx: Tx, message_id: MessageId) -> OwnedMessage | None: ...

    async def list(self, tx: Tx, query: ListQuery, *, chat_id: ChatId | None) -> Page[Message]: ...

    async def read_after(
        self, tx: Tx, chat_id: ChatId, *, after: int, limit: int, branch: int | None = None
    ) -> Sequence[Message]:
        """Read a branch's path in order, all branches for None, from the first message whose id is above `after`."""
        ...

    async def read_history(
        self, tx: Tx, chat_id: ChatId, *, before: MessageId, branch: int, limit_messages: int, limit_bytes: int
    ) -> Sequence[Said]:
        """Read the newest complete messages on a branch's path before one that belong into a prompt; oldest turn first.

        An answer stands right behind its question, whatever was said between the two.
        Cost: one query; at most `limit_messages` rows and `limit_bytes` of content leave the database.
        """
        ...

    async def update(self, tx: Tx, message_id: MessageId, change: MessageChange) -> Message | None: ...

    async def take_all_out(self, tx: Tx, chat_id: ChatId) -> tuple[int, datetime | None]:
        """Take every message that is in the prompt out of it; tell how many, and the moment they all changed."""
        ...

    async def put_back(self, tx: Tx, chat_id: ChatId, *, taken_out_at: datetime) -> int:
        """Put those into the prompt again that were taken out and last changed at that moment; tell how many."""
        ...

    async def settle(self, tx: Tx, message_id: MessageId, status: MessageStatus) -> Message | None:
        """Write down what became of the message's turn, even when the message was deleted meanwhile.

        A question that was answered once stays complete, however often it is asked again.
        """
        ...

    async def delete(self, tx: Tx, message_id: MessageId) -> None: ...


class BranchStore(Protocol):
    """Branches. A message's branch, and where a branch leaves its parent, never change. Ids as above."""

    async def locate(self, tx: Tx, message_id: MessageId) -> Spot | None:
        """Find a message, as `MessageStore.find` does, with where it stands; deleted ones count as what was before."""
        ...

    async def begin(self, tx: Tx, chat_id: ChatId, departure: Departure) -> int | None:
        """Begin a branch and have the chat go on in it; tell its number, None when there is no such chat.

        Concurrency: as `MessageStore.add`; what is added in the same transaction is in this branch.
        """
        ...

    async def select(self, tx: Tx, chat_id: ChatId, branch: int) -> Chat | None:
        """Have the chat go on in one of its branches."""
        ...

    async def heads(self, tx: Tx, chat_id: ChatId) -> Sequence[Head]:
        """Read what stands first behind each departure, of every branch that has something there.

        Where that is an answer it is the newest to its question. Cost: one query; at most two rows for a branch.
        """
        ...

    async def copy(
        self, tx: Tx, chat_id: ChatId, *, branch: int, until: Position | None, title: str | None
    ) -> Chat | None:
        """Make a chat of its own of a branch's path up to, and without, a position; None when there is no such chat.

        It has the title, where one is given, and else what the chat has; ids are in the order of the path. What waits
        for an answer is interrupted there. Cost: one statement for all messages.
        """
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
