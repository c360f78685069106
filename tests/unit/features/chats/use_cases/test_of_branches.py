from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from app.features.chats.domain.branch import MAX_BRANCHES, MessageNotEditable, NothingToRegenerate, TooManyBranches
from app.features.chats.domain.chat import ChatBusy, ChatNotFound
from app.features.chats.domain.message import MessageNotFound, MessageRole
from app.features.chats.domain.turn import Begun, Wish
from app.features.chats.use_cases.copy_chat import CloneChat, CopyChat, ForkChat
from app.features.chats.use_cases.edit_message import EditMessage
from app.features.chats.use_cases.read_messages import ReadMessages
from app.features.chats.use_cases.regenerate_answer import RegenerateAnswer
from app.features.chats.use_cases.select_branch import SelectBranch
from app.kernel.errors import ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId
from tests.fakes.chat_slice import ADMIN, ANN, BEN, MANAGER, Slice
from tests.fakes.keyed_requests import a_keyed_request

type Act = Callable[[Slice, Principal, MessageId], Awaitable[object]]


def edit(desk: Slice) -> EditMessage:
    return EditMessage(desk.chats, desk.branches, desk.begin_turn)


def regenerate(desk: Slice) -> RegenerateAnswer:
    return RegenerateAnswer(desk.chats, desk.branches, desk.begin_turn)


def fork(desk: Slice) -> ForkChat:
    return ForkChat(desk.begin, desk.branches, CopyChat(desk.chats, desk.branches, desk.receipts))


def clone(desk: Slice) -> CloneChat:
    return CloneChat(desk.begin, desk.chats, CopyChat(desk.chats, desk.branches, desk.receipts))


def select(desk: Slice) -> SelectBranch:
    return SelectBranch(desk.begin, desk.messages, desk.branches, desk.audit)


OF_THE_OWNER: dict[str, Act] = {
    "edit": lambda desk, who, message: edit(desk)(who, message, Wish("other")),
    "regenerate": lambda desk, who, message: regenerate(desk)(who, message, Wish("")),
    "fork": lambda desk, who, message: fork(desk)(who, message),
}
of_the_owner = pytest.mark.parametrize("act", OF_THE_OWNER.values(), ids=OF_THE_OWNER.keys())


async def answered(desk: Slice, text: str = "hello") -> Begun:
    chat = await desk.a_chat()
    begun = await desk.exchange(ANN, chat.id, Wish(text))
    async with desk.working():
        await desk.ended(begun.run_id)
    return begun


async def path(desk: Slice, chat_id: ChatId, *, is_whole: bool = False) -> list[str]:
    read = ReadMessages(desk.begin, desk.chats, desk.messages, desk.branches)
    return [one.content for one in (await read(ANN, chat_id, after=0, limit=50, is_whole=is_whole)).items]


@of_the_owner
@pytest.mark.parametrize("who", [BEN, MANAGER, ADMIN], ids=["another user", "a manager", "an admin"])
async def test_nobody_but_the_owner_may(act: Act, who: Principal) -> None:
    desk = Slice()
    message = await desk.a_message(await desk.a_chat(ANN))

    with pytest.raises(MessageNotFound):
        await act(desk, who, message.id)

    assert (len(desk.kept.runs), len(desk.world.state.chats), len(desk.world.messages())) == (0, 1, 1)


@pytest.mark.parametrize("who", [BEN, ADMIN], ids=["another user", "an admin"])
async def test_nobody_but_the_owner_clones(who: Principal) -> None:
    desk = Slice()
    chat = await desk.a_chat(ANN)

    with pytest.raises(ChatNotFound):
        await clone(desk)(who, chat.id)


@pytest.mark.parametrize("act", [OF_THE_OWNER["edit"], OF_THE_OWNER["regenerate"]], ids=["edit", "regenerate"])
async def test_a_chat_that_is_full_of_branches_takes_no_other_and_stays_as_it_is(act: Act) -> None:
    desk = Slice()
    chat = await desk.a_chat()
    message = await desk.a_message(chat)
    full = replace(desk.world.state.chats[chat.id], branches=MAX_BRANCHES)
    desk.world.state.chats[chat.id] = full

    with pytest.raises(TooManyBranches):
        await act(desk, ANN, message.id)

    assert desk.world.state.chats[chat.id] == full
    assert (len(desk.kept.runs), len(desk.world.messages())) == (0, 1)


async def test_an_edit_is_answered_of_what_was_said_before_and_told_to_the_hook() -> None:
    desk = Slice()
    begun = await answered(desk)
    chat_id = begun.question.chat_id

    again = await edit(desk)(ANN, begun.question.id, Wish("instead"))
    async with desk.working():
        await desk.ended(again.run_id)

    assert (again.branch, again.question.branch, desk.agents.last_turn.history) == (1, 1, ())
    assert await path(desk, chat_id) == ["instead", "instead"]
    assert await path(desk, chat_id, is_whole=True) == ["hello", "hello", "instead", "instead"]
    assert [one.message for one in desk.hook.captured] == ["hello", "instead"]


async def test_an_answer_given_anew_leaves_the_first_where_it_was() -> None:
    desk = Slice()
    begun = await answered(desk)
    desk.agents.replies.append("otherwise")

    again = await regenerate(desk)(ANN, begun.question.id, Wish(""))
    async with desk.working():
        await desk.ended(again.run_id)

    assert (again.branch, again.question.branch) == (1, 0)
    assert await path(desk, begun.question.chat_id) == ["hello", "otherwise"]
    assert [one.in_prompt for one in desk.world.messages()] == [True, True, True]
    assert [one.message for one in desk.hook.captured] == ["hello"]  # nobody said anything


async def test_a_turn_keeps_to_its_branch_though_another_is_chosen_meanwhile() -> None:
    desk = Slice()
    begun = await answered(desk)
    again = await edit(desk)(ANN, begun.question.id, Wish("instead"))

    chosen = await select(desk)(ANN, begun.question.id)
    async with desk.working():
        await desk.ended(again.run_id)

    assert (chosen.branch, desk.agents.last_turn.history) == (0, ())
    assert await path(desk, begun.question.chat_id) == ["hello", "hello"]
    assert desk.world.messages()[-1].branch == 1


async def test_an_edit_is_refused_while_another_turn_runs_unless_it_waits() -> None:
    desk = Slice()
    chat = await desk.a_chat()
    running = await desk.exchange(ANN, chat.id, Wish("hello"))

    with pytest.raises(ChatBusy):
        await edit(desk)(ANN, running.question.id, Wish("instead"))
    queued = await edit(desk)(ANN, running.question.id, Wish("instead", waits=True))

    assert (desk.world.state.chats[chat.id].branches, queued.branch) == (1, 1)


@pytest.mark.parametrize("verb", OF_THE_OWNER)
async def test_what_is_sent_again_is_done_once(verb: str) -> None:
    desk = Slice()
    begun = await answered(desk)
    keyed = await a_keyed_request(desk.receipts, ANN.user_id)
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "edit": lambda: edit(desk)(ANN, begun.question.id, Wish("other"), keyed=keyed),
        "regenerate": lambda: regenerate(desk)(ANN, begun.question.id, Wish(""), keyed=keyed),
        "fork": lambda: fork(desk)(ANN, begun.question.id, keyed=keyed),
    }

    first, second = await acts[verb](), await acts[verb]()

    assert first == second


async def test_a_turn_noted_before_there_were_branches_is_found_again() -> None:
    desk = Slice()
    begun = await answered(desk)
    keyed = await a_keyed_request(desk.receipts, ANN.user_id)
    async with desk.begin() as tx:
        await desk.receipts.find(tx, keyed)
        await desk.receipts.note(tx, keyed, f"{begun.question.id} {begun.run_id}")

    found = await desk.exchange(ANN, begun.question.chat_id, Wish("hello"), keyed=keyed)

    assert (found.question.id, found.run_id, found.branch) == (begun.question.id, begun.run_id, 0)


async def test_what_cannot_be_branched_is_told_so() -> None:
    desk = Slice()
    chat = await desk.a_chat()
    written = await desk.a_message(chat, role=MessageRole.ASSISTANT)

    with pytest.raises(MessageNotEditable):
        await edit(desk)(ANN, written.id, Wish("other"))
    with pytest.raises(NothingToRegenerate):
        await regenerate(desk)(ANN, written.id, Wish(""))
    with pytest.raises(ValidationFailed):
        await edit(desk)(ANN, written.id, Wish(""))
    with pytest.raises(ValidationFailed):
        await clone(desk)(ANN, chat.id, title="x" * 201)


async def test_what_an_admin_selects_for_somebody_else_is_written_down() -> None:
    desk = Slice()
    begun = await answered(desk)

    await select(desk)(ADMIN, begun.question.id)
    await select(desk)(ANN, begun.question.id)
    with pytest.raises(MessageNotFound):
        await select(desk)(BEN, begun.question.id)

    assert [(one.action, one.owner) for one in desk.audit.acts] == [("chat.branch_selected", "ann")]
