"""Go on in a copy of a chat: of all of it, or as far as one of its messages."""

from dataclasses import dataclass

from app.features.chats.domain.branch import Position
from app.features.chats.domain.chat import Chat, ChatNotFound, owns, title_problems
from app.features.chats.ports import BranchStore, ChatStore
from app.features.chats.use_cases.access import checked_chat, own_spot
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class CopyChat:
    """Make another chat of the same owner, agent and metadata, in which one path was said, up to a position.

    The chat itself stays as it is. However often a keyed request comes, it is one copy.
    """

    chats: ChatStore
    branches: BranchStore
    receipts: Receipts

    async def __call__(
        self,
        tx: Tx,
        who: Principal,
        chat_id: ChatId,
        *,
        branch: int,
        until: Position | None,
        title: str | None,
        keyed: KeyedRequest | None,
    ) -> Chat:
        """Errors: ChatNotFound, also when an earlier try's copy was deleted meanwhile."""
        made = None if keyed is None else await self.receipts.find(tx, keyed)
        if made is not None:
            return checked_chat(await self.chats.find(tx, ChatId(int(made))), who)
        copy = await self.branches.copy(tx, chat_id, branch=branch, until=until, title=title)
        if copy is None:
            raise ChatNotFound
        if keyed is not None:
            await self.receipts.note(tx, keyed, str(copy.id))
        return copy


@dataclass(frozen=True, slots=True)
class ForkChat:
    """Copy the path to a message, and that message. Nobody but the owner may.

    Errors: ValidationFailed, MessageNotFound, ChatNotFound.
    """

    begin: Begin
    branches: BranchStore
    copy: CopyChat

    async def __call__(
        self, who: Principal, message_id: MessageId, *, title: str | None = None, keyed: KeyedRequest | None = None
    ) -> Chat:
        refuse_invalid(title_problems(title))
        async with self.begin() as tx:
            spot = await own_spot(self.branches, tx, who, message_id)
            place, id_ = spot.position
            behind, message = Position(place, id_ + 1), spot.message
            return await self.copy(
                tx, who, message.chat_id, branch=message.branch, until=behind, title=title, keyed=keyed
            )


@dataclass(frozen=True, slots=True)
class CloneChat:
    """Copy the whole path of the branch the chat goes on in. Nobody but the owner may.

    Errors: ValidationFailed, ChatNotFound.
    """

    begin: Begin
    chats: ChatStore
    copy: CopyChat

    async def __call__(
        self, who: Principal, chat_id: ChatId, *, title: str | None = None, keyed: KeyedRequest | None = None
    ) -> Chat:
        refuse_invalid(title_problems(title))
        async with self.begin() as tx:
            chat = await self.chats.find(tx, chat_id)
            if chat is None or not owns(who, chat):
                raise ChatNotFound
            return await self.copy(tx, who, chat_id, branch=chat.branch, until=None, title=title, keyed=keyed)
