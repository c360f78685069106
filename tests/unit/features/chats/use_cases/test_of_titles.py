"""How a chat without a title gets one: by its first words, or by a run that asks a model."""

from decimal import Decimal

import pytest

from app.agents.contract import AgentFailed
from app.agents.titling import TITLER
from app.features.chats.domain.chat import Chat, ChatChange
from app.features.chats.domain.title import KIND
from app.features.chats.domain.turn import Wish
from app.features.usage.domain.budget import Budgets, Limit
from app.infra.durable.ports import RunState
from app.kernel.ids import RunId
from tests.fakes.agents import ScriptedAgents
from tests.fakes.chat_slice import ANN, Slice, until

QUESTION = "How do I plan a trip?\nWith children."


def a_desk(*replies: str | BaseException, budgets: Budgets | None = None) -> Slice:
    """One whose titles a model makes; it answers the turn first."""
    agents = ScriptedAgents(list(replies), names=("echo", "support", TITLER))
    return Slice(agents=agents, titles_are_asked_for=True, budgets=budgets or Budgets())


async def ask(desk: Slice, chat: Chat, text: str = QUESTION) -> RunId:
    begun = await desk.exchange(ANN, chat.id, Wish(text))
    await desk.ended(begun.run_id)
    return begun.run_id


async def title_of(desk: Slice, chat: Chat) -> str | None:
    async with desk.begin() as tx:
        found = await desk.chats.find(tx, chat.id)
    assert found is not None
    return found.title


def title_runs(desk: Slice) -> list[RunId]:
    return [run_id for run_id, run in desk.kept.runs.items() if run.new.kind == KIND]


async def titled(desk: Slice) -> None:
    """Wait until the titles are made."""
    await until(lambda: all(desk.kept.find(run_id).state.is_final for run_id in title_runs(desk)))


async def test_the_first_completed_turn_gives_its_first_words() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    async with desk.working():
        await ask(desk, chat)
        await ask(desk, chat, "And then?")

    assert await title_of(desk, chat) == "How do I plan a trip?"
    assert title_runs(desk) == []


async def test_a_title_that_is_there_stays() -> None:
    desk = Slice()
    chat = await desk.a_chat(title="Mine")

    async with desk.working():
        await ask(desk, chat)

    assert await title_of(desk, chat) == "Mine"


async def test_a_turn_that_fails_gives_none_and_the_next_one_does() -> None:
    desk = Slice(agents=ScriptedAgents([AgentFailed("no")]))
    chat = await desk.a_chat()

    async with desk.working():
        await ask(desk, chat, "first")
        after_failure = await title_of(desk, chat)
        await ask(desk, chat, "second")

    assert (after_failure, await title_of(desk, chat)) == (None, "second")


async def test_a_title_that_was_emptied_is_made_anew() -> None:
    desk = Slice()
    chat = await desk.a_chat(title="Mine")
    async with desk.begin() as tx:
        await desk.chats.update(tx, chat.id, ChatChange(title=None))

    async with desk.working():
        await ask(desk, chat)

    assert await title_of(desk, chat) == "How do I plan a trip?"


async def test_a_title_set_while_the_turn_ran_stays() -> None:
    desk = Slice()
    chat = await desk.a_chat()
    desk.agents.hold()

    async with desk.working():
        begun = await desk.exchange(ANN, chat.id, Wish(QUESTION))
        await desk.agents.is_asked.wait()
        async with desk.begin() as tx:
            await desk.chats.update(tx, chat.id, ChatChange(title="Mine"))
        desk.agents.release()
        await desk.ended(begun.run_id)

    assert await title_of(desk, chat) == "Mine"


async def test_a_model_is_asked_in_a_run_outside_of_the_chat_on_its_owners_account() -> None:
    desk = a_desk("By train.", '"A Trip with Children."')
    chat = await desk.a_chat()

    async with desk.working():
        turn = await ask(desk, chat)
        await titled(desk)

    assert await title_of(desk, chat) == "A Trip with Children"
    (run_id,) = title_runs(desk)
    new = desk.kept.find(run_id).new
    assert (new.chat_id, new.lane, new.owner, new.agent) == (None, None, "ann", TITLER)
    name, asked = desk.agents.asked[-1]
    assert name == TITLER
    assert (asked.chat_id, asked.history, asked.is_attended, asked.may_write) == (None, (), False, False)
    assert QUESTION in asked.text
    assert "By train." in asked.text
    assert {one.payer.run_id: one.payer.user_id for one in desk.ledger.settlements} == {turn: "ann", run_id: "ann"}
    assert run_id in desk.ledger.closed


@pytest.mark.parametrize("reply", [AgentFailed("no"), '""', "  "])
async def test_what_comes_to_nothing_leaves_the_first_words(reply: str | BaseException) -> None:
    desk = a_desk("By train.", reply)
    chat = await desk.a_chat()

    async with desk.working():
        await ask(desk, chat)
        await titled(desk)

    assert await title_of(desk, chat) == "How do I plan a trip?"


async def test_a_budget_that_is_used_up_leaves_the_first_words() -> None:
    desk = a_desk("By train.", budgets=Budgets(user={Limit.REQUESTS: Decimal(1)}))
    chat = await desk.a_chat()

    async with desk.working():
        await ask(desk, chat)
        await titled(desk)

    assert await title_of(desk, chat) == "How do I plan a trip?"
    (run_id,) = title_runs(desk)
    assert desk.kept.find(run_id).state is RunState.FAILED


async def test_the_owner_who_is_quicker_wins_and_no_model_is_asked() -> None:
    desk = a_desk()
    chat = await desk.a_chat()
    desk.agents.hold()

    async with desk.working():
        begun = await desk.exchange(ANN, chat.id, Wish(QUESTION))
        await desk.agents.is_asked.wait()
        async with desk.begin() as tx:
            await desk.chats.update(tx, chat.id, ChatChange(title="Mine"))
        desk.agents.release()
        await desk.ended(begun.run_id)
        await titled(desk)

    assert await title_of(desk, chat) == "Mine"
    assert [name for name, _ in desk.agents.asked] == ["echo"]


async def test_a_title_set_while_the_model_thinks_stays() -> None:
    desk = a_desk("By train.")

    async def meanwhile() -> None:
        async with desk.begin() as tx:
            await desk.chats.update(tx, chat.id, ChatChange(title="Mine"))

    chat = await desk.a_chat()
    async with desk.working():
        begun = await desk.exchange(ANN, chat.id, Wish(QUESTION))
        await desk.ended(begun.run_id)
        await until(lambda: bool(title_runs(desk)))
        await meanwhile()
        await titled(desk)

    assert await title_of(desk, chat) == "Mine"


async def test_a_chat_is_not_busy_with_its_title() -> None:
    desk = a_desk("By train.", "A title")
    chat = await desk.a_chat()

    async with desk.working():
        await ask(desk, chat)
        async with desk.begin() as tx:
            assert await desk.runs.unfinished(tx, chat.id) == []
        await ask(desk, chat, "And then?")
        await titled(desk)

    assert len([text for role, text, status in await desk.said(chat.id) if status == "complete"]) == 4
