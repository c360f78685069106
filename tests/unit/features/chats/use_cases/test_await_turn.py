import asyncio

import pytest

from app.agents.contract import AgentFailed, AgentNotFound, AgentTimedOut, ModelNotConfigured, ModelUnavailable
from app.features.chats.domain.message import TurnLost
from app.features.chats.domain.turn import Begun, Exchange, Wish
from app.features.chats.use_cases.await_turn import AwaitTurn
from app.features.runs.use_cases.await_run import AwaitRun, RunBroken
from app.infra.durable.ports import RunError, RunState
from app.infra.durable.verdicts import End
from app.kernel.errors import Fault
from tests.fakes.agents import ScriptedAgents
from tests.fakes.chat_slice import ANN, Slice
from tests.fakes.durable import end

FAILURES = [AgentFailed("no"), AgentTimedOut("late"), AgentNotFound("who?"), ModelNotConfigured("set it")]


async def begun(desk: Slice, text: str = "hello") -> Begun:
    chat = await desk.a_chat()
    return await desk.exchange(ANN, chat.id, Wish(text))


def waiting(desk: Slice) -> AwaitTurn:
    return AwaitTurn(desk.begin, desk.messages, AwaitRun(desk.begin, desk.runs, desk.log))


async def test_gives_both_sides_when_the_turn_is_answered() -> None:
    desk = Slice(agents=ScriptedAgents(["hi, Ann"]))
    turn = await begun(desk)

    async with desk.working():
        exchange = await waiting(desk)(turn)

    assert isinstance(exchange, Exchange)
    assert (exchange.question.id, exchange.question.status) == (turn.question.id, "complete")
    assert (exchange.answer.content, exchange.answer.run_id) == ("hi, Ann", turn.run_id)


async def test_gives_nothing_of_a_turn_that_is_not_over_in_time_and_leaves_it_alone() -> None:
    desk = Slice()
    turn = await begun(desk)

    found = await waiting(desk)(turn, timeout_s=0.01)

    assert found is None
    assert desk.kept.find(turn.run_id).state is RunState.QUEUED


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_what_ended_the_turn_is_raised_as_it_was_and_names_the_run(failure: Fault) -> None:
    desk = Slice(agents=ScriptedAgents([failure]))
    turn = await begun(desk)

    async with desk.working():
        with pytest.raises(type(failure)) as raised:
            await waiting(desk)(turn)

    assert raised.value.detail == failure.detail
    assert raised.value.members == {"run_id": str(turn.run_id)}
    assert raised.value.headers == {"location": f"/api/v1/runs/{turn.run_id}"}


async def test_when_to_come_back_is_passed_on() -> None:
    desk = Slice(agents=ScriptedAgents([ModelUnavailable("away", headers={"retry-after": "7"})]))
    turn = await begun(desk)

    async with desk.working():
        with pytest.raises(ModelUnavailable) as raised:
            await waiting(desk)(turn)

    assert raised.value.headers["retry-after"] == "7"


async def test_a_turn_that_is_cancelled_is_lost_with_the_reason() -> None:
    desk = Slice()
    turn = await begun(desk)
    await desk.engine.cancel(turn.run_id, reason="the chat was deleted")

    with pytest.raises(TurnLost, match=r"^The chat was deleted\.$"):
        await waiting(desk)(turn)


async def test_a_run_that_broke_of_itself_is_told_as_such() -> None:
    desk = Slice()
    turn = await begun(desk)
    verdict = End(RunState.FAILED, error=RunError("run-crashed", "5 workers were lost while they did this run."))
    await end(desk.kept, desk.handlers, desk.kept.find(turn.run_id), verdict, "")

    with pytest.raises(RunBroken, match="5 workers were lost"):
        await waiting(desk)(turn)


async def test_no_transaction_is_open_while_it_waits() -> None:
    desk = Slice()
    turn = await begun(desk)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(waiting(desk)(turn))
        await asyncio.sleep(0.02)
        assert desk.world.open_transactions == 0
        async with desk.working():
            await task
