from collections.abc import Awaitable, Callable

import pytest

from app.features.chats.domain.chat import Chat, ChatNotFound
from app.features.chats.domain.message import MessageChange, MessageNotFound, MessageRole, NewMessage
from app.features.chats.use_cases.add_message import AddMessage
from app.features.chats.use_cases.delete_message import DeleteMessage
from app.features.chats.use_cases.list_messages import ListMessages
from app.features.chats.use_cases.read_message import ReadMessage
from app.features.chats.use_cases.read_messages import ReadMessages
from app.features.chats.use_cases.update_message import UpdateMessage
from app.kernel.errors import Forbidden, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId
from app.kernel.paging import ListQuery
from tests.fakes.chat_slice import ADMIN, ANN, BEN, MANAGER, Slice
from tests.fakes.keyed_requests import a_keyed_request

type OnMessage = Callable[[Slice, Principal, MessageId], Awaitable[object]]
type OnChat = Callable[[Slice, Principal, ChatId], Awaitable[object]]

ON_A_MESSAGE: dict[str, OnMessage] = {
    "read": lambda desk, who, message_id: ReadMessage(desk.begin, desk.messages)(who, message_id),
    "update": lambda desk, who, message_id: UpdateMessage(desk.begin, desk.messages, desk.audit)(
        who, message_id, MessageChange(content="theirs")
    ),
    "delete": lambda desk, who, message_id: DeleteMessage(desk.begin, desk.messages, desk.audit)(who, message_id),
}
IN_A_CHAT: dict[str, OnChat] = {
    "read": lambda desk, who, chat_id: ReadMessages(desk.begin, desk.chats, desk.messages, desk.branches)(
        who, chat_id, after=0, limit=10
    ),
    "add": lambda desk, who, chat_id: AddMessage(desk.begin, desk.chats, desk.messages, desk.receipts, desk.audit)(
        who, NewMessage(chat_id, MessageRole.USER, "hello")
    ),
}
on_a_message = pytest.mark.parametrize("act", ON_A_MESSAGE.values(), ids=ON_A_MESSAGE.keys())
in_a_chat = pytest.mark.parametrize("act", IN_A_CHAT.values(), ids=IN_A_CHAT.keys())
strangers = pytest.mark.parametrize("stranger", [BEN, MANAGER], ids=["another user", "a manager"])
allowed = pytest.mark.parametrize("caller", [ANN, ADMIN], ids=["the owner", "an admin"])


@on_a_message
@strangers
async def test_another_persons_message_is_not_found(act: OnMessage, stranger: Principal) -> None:
    desk = Slice()
    message = await desk.a_message(await desk.a_chat(ANN))

    with pytest.raises(MessageNotFound):
        await act(desk, stranger, message.id)

    assert await desk.said(message.chat_id) == [("user", "hello", "complete")]


@on_a_message
async def test_a_missing_message_is_not_found(act: OnMessage) -> None:
    with pytest.raises(MessageNotFound):
        await act(Slice(), ADMIN, MessageId(404))


@on_a_message
@allowed
async def test_the_owner_and_an_admin_may_touch_a_message(act: OnMessage, caller: Principal) -> None:
    desk = Slice()
    message = await desk.a_message(await desk.a_chat(ANN))

    await act(desk, caller, message.id)


@in_a_chat
@strangers
async def test_another_persons_chat_is_not_found(act: OnChat, stranger: Principal) -> None:
    desk = Slice()
    chat = await desk.a_chat(ANN)

    with pytest.raises(ChatNotFound):
        await act(desk, stranger, chat.id)

    assert await desk.said(chat.id) == []


@in_a_chat
@allowed
async def test_the_owner_and_an_admin_may_enter_a_chat(act: OnChat, caller: Principal) -> None:
    desk = Slice()
    chat = await desk.a_chat(ANN)

    await act(desk, caller, chat.id)


async def test_a_chat_is_read_in_stretches_until_its_end() -> None:
    desk = Slice()
    chat = await desk.a_chat()
    for number in range(5):
        await desk.a_message(chat, str(number))
    read = ReadMessages(desk.begin, desk.chats, desk.messages, desk.branches)

    stretches = []
    after: int | None = 0
    while after is not None:
        stretch = await read(ANN, chat.id, after=after, limit=2)
        stretches.append([message.content for message in stretch.items])
        after = stretch.next

    assert stretches == [["0", "1"], ["2", "3"], ["4"]]


async def test_a_full_last_stretch_is_the_end() -> None:
    desk = Slice()
    chat = await desk.a_chat()
    await desk.a_message(chat)

    stretch = await ReadMessages(desk.begin, desk.chats, desk.messages, desk.branches)(ANN, chat.id, after=0, limit=1)

    assert (len(stretch.items), stretch.next) == (1, None)


@pytest.mark.parametrize("content", ["", "x" * 100_001, "a\0b", "\udc00"], ids=["empty", "long", "nul", "surrogate"])
async def test_content_that_cannot_be_stored_is_refused(content: str) -> None:
    desk = Slice()
    chat = await desk.a_chat()
    message = await desk.a_message(chat)

    with pytest.raises(ValidationFailed) as on_add:
        await AddMessage(desk.begin, desk.chats, desk.messages, desk.receipts, desk.audit)(
            ANN, NewMessage(chat.id, MessageRole.USER, content)
        )
    with pytest.raises(ValidationFailed) as on_update:
        await UpdateMessage(desk.begin, desk.messages, desk.audit)(ANN, message.id, MessageChange(content=content))

    for refused in (on_add, on_update):
        assert [error.field for error in refused.value.errors] == ["content"]


async def test_staff_list_everybodys_messages() -> None:
    desk = Slice()
    chats: list[Chat] = [await desk.a_chat(ANN), await desk.a_chat(BEN)]
    for chat in chats:
        await desk.a_message(chat, f"in {chat.id}")
    list_messages = ListMessages(desk.begin, desk.messages)

    everywhere = await list_messages(MANAGER, ListQuery())
    in_one = await list_messages(MANAGER, ListQuery(), chat_id=chats[0].id)

    assert [message.content for message in everywhere.items] == ["in 2", "in 1"]
    assert [message.content for message in in_one.items] == ["in 1"]


async def test_nobody_else_does() -> None:
    desk = Slice()

    with pytest.raises(Forbidden):
        await ListMessages(desk.begin, desk.messages)(ANN, ListQuery())


async def test_a_keyed_request_writes_one_message_however_often_it_comes() -> None:
    desk = Slice()
    chat = await desk.a_chat(ANN)
    add = AddMessage(desk.begin, desk.chats, desk.messages, desk.receipts, desk.audit)
    keyed = await a_keyed_request(desk.receipts, ANN.user_id)

    tries = [await add(ANN, NewMessage(chat.id, MessageRole.USER, "hello"), keyed=keyed) for _ in range(3)]

    assert len({message.id for message in tries}) == 1
    assert await desk.said(chat.id) == [("user", "hello", "complete")]


async def test_a_keyed_request_whose_message_was_deleted_meanwhile_writes_no_other() -> None:
    desk = Slice()
    chat = await desk.a_chat(ANN)
    add = AddMessage(desk.begin, desk.chats, desk.messages, desk.receipts, desk.audit)
    keyed = await a_keyed_request(desk.receipts, ANN.user_id)
    message = await add(ANN, NewMessage(chat.id, MessageRole.USER, "hello"), keyed=keyed)
    await DeleteMessage(desk.begin, desk.messages, desk.audit)(ANN, message.id)

    with pytest.raises(MessageNotFound):
        await add(ANN, NewMessage(chat.id, MessageRole.USER, "hello"), keyed=keyed)

    assert await desk.said(chat.id) == []
