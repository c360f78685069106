"""Who may touch which chat or message. Another person's is not found, exactly like one that does not exist."""

from app.features.chats.domain.branch import Departure, Spot, refuse_too_many
from app.features.chats.domain.chat import Chat, ChatNotFound, may_touch
from app.features.chats.domain.message import Message, MessageNotFound, OwnedMessage
from app.features.chats.ports import BranchStore, ChatStore, MessageStore
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId
from app.kernel.transaction import Tx


async def open_chat(chats: ChatStore, tx: Tx, who: Principal, chat_id: ChatId) -> Chat:
    """Errors: ChatNotFound."""
    return checked_chat(await chats.find(tx, chat_id), who)


def checked_chat(chat: Chat | None, who: Principal) -> Chat:
    """Errors: ChatNotFound."""
    if chat is None or not may_touch(who, chat):
        raise ChatNotFound
    return chat


async def open_message(messages: MessageStore, tx: Tx, who: Principal, message_id: MessageId) -> OwnedMessage:
    """Errors: MessageNotFound."""
    owned = await messages.find(tx, message_id)
    if owned is None or not (who.is_admin or owned.owner == who.user_id):
        raise MessageNotFound
    return owned


def present_message(message: Message | None) -> Message:
    """Errors: MessageNotFound, when it went away between looking and changing."""
    if message is None:
        raise MessageNotFound
    return message


async def own_spot(branches: BranchStore, tx: Tx, who: Principal, message_id: MessageId) -> Spot:
    """Find one's own message, and where it stands. Errors: MessageNotFound, for an admin too."""
    spot = await branches.locate(tx, message_id)
    if spot is None or spot.owner != who.user_id:
        raise MessageNotFound
    return spot


async def own_chat(chats: ChatStore, tx: Tx, spot: Spot) -> Chat:
    """Find the chat of a message that was found. Errors: MessageNotFound, when it went away with it."""
    chat = await chats.find(tx, spot.message.chat_id)
    if chat is None:
        raise MessageNotFound
    return chat


async def begin_branch(branches: BranchStore, tx: Tx, chat_id: ChatId, departure: Departure) -> int:
    """Errors: TooManyBranches, ChatNotFound."""
    number = await branches.begin(tx, chat_id, departure)
    if number is None:
        raise ChatNotFound
    refuse_too_many(number)
    return number
