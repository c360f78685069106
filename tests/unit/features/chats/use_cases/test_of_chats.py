from collections.abc import Awaitable, Callable

import pytest

from app.agents.contract import AgentUnknown
from app.features.chats.domain.chat import Chat, ChatChange, ChatNotFound, NewChat
from app.features.chats.use_cases.create_chat import CreateChat
from app.features.chats.use_cases.delete_chat import DeleteChat
from app.features.chats.use_cases.list_chats import ListChats
from app.features.chats.use_cases.read_chat import ReadChat
from app.features.chats.use_cases.restore_chat import RestoreChat
from app.features.chats.use_cases.update_chat import UpdateChat
from app.kernel.errors import Forbidden, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, UserId
from app.kernel.paging import ListQuery
from tests.fakes.chat_slice import ADMIN, ANN, BEN, MANAGER, Slice
from tests.fakes.keyed_requests import a_keyed_request

type Act = Callable[[Slice, Principal, ChatId], Awaitable[object]]

ON_A_CHAT: dict[str, Act] = {
    "read": lambda desk, who, chat_id: ReadChat(desk.begin, desk.chats)(who, chat_id),
    "update": lambda desk, who, chat_id: UpdateChat(desk.begin, desk.chats, desk.agents, desk.audit)(
        who, chat_id, ChatChange(title="theirs")
    ),
    "delete": lambda desk, who, chat_id: DeleteChat(desk.begin, desk.chats, desk.runs, desk.engine, desk.audit)(
        who, chat_id
    ),
    "restore": lambda desk, who, chat_id: RestoreChat(desk.begin, desk.chats, desk.audit)(who, chat_id),
}
acts = pytest.mark.parametrize("act", ON_A_CHAT.values(), ids=ON_A_CHAT.keys())


@acts
@pytest.mark.parametrize("stranger", [BEN, MANAGER], ids=["another user", "a manager"])
async def test_another_persons_chat_is_not_found(act: Act, stranger: Principal) -> None:
    desk = Slice()
    chat = await desk.a_chat(ANN)

    with pytest.raises(ChatNotFound):
        await act(desk, stranger, chat.id)

    assert desk.world.state.chats == {chat.id: chat}


@acts
async def test_a_missing_chat_is_not_found(act: Act) -> None:
    with pytest.raises(ChatNotFound):
        await act(Slice(), ADMIN, ChatId(404))


@acts
@pytest.mark.parametrize("caller", [ANN, ADMIN], ids=["the owner", "an admin"])
async def test_the_owner_and_an_admin_may(act: Act, caller: Principal) -> None:
    desk = Slice()
    chat = await desk.a_chat(ANN)

    await act(desk, caller, chat.id)


async def test_a_chat_belongs_to_whoever_opens_it() -> None:
    desk = Slice()

    chat = await CreateChat(desk.begin, desk.chats, desk.agents, desk.receipts, desk.audit)(
        ANN, NewChat(ANN.user_id, title="Plans", agent="echo")
    )

    assert (chat.user_id, chat.title, chat.agent) == ("ann", "Plans", "echo")


async def test_only_an_admin_opens_a_chat_for_somebody_else() -> None:
    desk = Slice()
    create = CreateChat(desk.begin, desk.chats, desk.agents, desk.receipts, desk.audit)

    assert (await create(ADMIN, NewChat(UserId("42")))).user_id == "42"
    for caller in (ANN, MANAGER):
        with pytest.raises(Forbidden):
            await create(caller, NewChat(UserId("42")))


async def test_every_field_that_is_wrong_is_named_at_once() -> None:
    desk = Slice()
    draft = NewChat(ANN.user_id, title="x" * 201, metadata={"a": "\0"})

    with pytest.raises(ValidationFailed) as refused:
        await CreateChat(desk.begin, desk.chats, desk.agents, desk.receipts, desk.audit)(ANN, draft)

    assert [error.field for error in refused.value.errors] == ["title", "metadata"]


async def test_an_agent_that_does_not_exist_is_refused_with_those_that_do() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    with pytest.raises(AgentUnknown) as on_create:
        await CreateChat(desk.begin, desk.chats, desk.agents, desk.receipts, desk.audit)(
            ANN, NewChat(ANN.user_id, agent="nobody")
        )
    with pytest.raises(AgentUnknown):
        await UpdateChat(desk.begin, desk.chats, desk.agents, desk.audit)(ANN, chat.id, ChatChange(agent="nobody"))

    assert "echo, support" in on_create.value.errors[0].message


async def test_a_chat_goes_back_to_the_default_agent() -> None:
    desk = Slice()
    chat = await desk.a_chat(agent="support")

    changed = await UpdateChat(desk.begin, desk.chats, desk.agents, desk.audit)(ANN, chat.id, ChatChange(agent=None))

    assert changed.agent is None


@pytest.mark.parametrize(
    ("caller", "owner", "titles"),
    [
        pytest.param(ANN, None, ["ann's"], id="one's own"),
        pytest.param(ANN, "ann", ["ann's"], id="one's own, named"),
        pytest.param(MANAGER, None, [], id="a manager's own"),
        pytest.param(ADMIN, None, ["ben's", "ann's"], id="an admin sees all"),
        pytest.param(ADMIN, "ben", ["ben's"], id="an admin sees one person's"),
    ],
)
async def test_lists(caller: Principal, owner: str | None, titles: list[str]) -> None:
    desk = Slice()
    await desk.a_chat(ANN, title="ann's")
    await desk.a_chat(BEN, title="ben's")

    page = await ListChats(desk.begin, desk.chats)(caller, ListQuery(), owner=None if owner is None else UserId(owner))

    assert [chat.title for chat in page.items] == titles


async def test_somebody_elses_list_is_refused() -> None:
    desk = Slice()

    with pytest.raises(Forbidden):
        await ListChats(desk.begin, desk.chats)(MANAGER, ListQuery(), owner=ANN.user_id)


async def test_a_deleted_chat_is_gone_until_its_owner_restores_it() -> None:
    desk = Slice()
    chat = await desk.a_chat(title="Plans")
    await DeleteChat(desk.begin, desk.chats, desk.runs, desk.engine, desk.audit)(ANN, chat.id)

    for act in (ON_A_CHAT["read"], ON_A_CHAT["update"], ON_A_CHAT["delete"]):
        with pytest.raises(ChatNotFound):
            await act(desk, ANN, chat.id)
    restored: Chat = await RestoreChat(desk.begin, desk.chats, desk.audit)(ANN, chat.id)

    assert restored == chat


async def test_restoring_a_live_chat_changes_nothing() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    assert await RestoreChat(desk.begin, desk.chats, desk.audit)(ANN, chat.id) == chat


async def test_a_keyed_request_opens_one_chat_however_often_it_comes() -> None:
    desk = Slice()
    create = CreateChat(desk.begin, desk.chats, desk.agents, desk.receipts, desk.audit)
    keyed = await a_keyed_request(desk.receipts, ANN.user_id)

    tries = [await create(ANN, NewChat(ANN.user_id, title="Plans"), keyed=keyed) for _ in range(3)]

    assert len({chat.id for chat in tries}) == 1
    assert len(desk.world.state.chats) == 1


async def test_a_keyed_request_whose_chat_was_deleted_meanwhile_opens_no_other() -> None:
    desk = Slice()
    create = CreateChat(desk.begin, desk.chats, desk.agents, desk.receipts, desk.audit)
    keyed = await a_keyed_request(desk.receipts, ANN.user_id)
    chat = await create(ANN, NewChat(ANN.user_id), keyed=keyed)
    await DeleteChat(desk.begin, desk.chats, desk.runs, desk.engine, desk.audit)(ANN, chat.id)

    with pytest.raises(ChatNotFound):
        await create(ANN, NewChat(ANN.user_id), keyed=keyed)

    assert len(desk.world.state.chats) == 1
