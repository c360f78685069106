"""Read a chat's messages in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.features.chats.domain.branch import versions_of
from app.features.chats.domain.message import Message
from app.features.chats.ports import BranchStore, ChatStore, MessageStore
from app.features.chats.use_cases.access import open_chat
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a chat, oldest first; `next` is where to go on reading, None at the end.

    `versions` are the alternatives of those messages that have any, themselves among them.
    """

    items: Sequence[Message]
    next: MessageId | None
    versions: Mapping[MessageId, Sequence[MessageId]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadMessages:
    """Read the path of the branch a chat goes on in; for a client that wants the whole tree, all branches.

    Errors: ChatNotFound. Cost: one query, and another for chats that have branches.
    """

    begin: Begin
    chats: ChatStore
    messages: MessageStore
    branches: BranchStore

    async def __call__(
        self, who: Principal, chat_id: ChatId, *, after: int, limit: int, is_whole: bool = False
    ) -> Stretch:
        async with self.begin() as tx:
            chat = await open_chat(self.chats, tx, who, chat_id)
            branch = None if is_whole else chat.branch
            found = await self.messages.read_after(tx, chat_id, after=after, limit=limit + 1, branch=branch)
            heads = await self.branches.heads(tx, chat_id) if chat.branches else ()
        items = found[:limit]
        return Stretch(items, items[-1].id if len(found) > limit else None, versions_of(heads))
