"""A turn that is cancelled stops what it is at, at once: shown at the model server's side, in tools, in the ledger."""

import asyncio
import time
from collections.abc import AsyncIterator
from threading import Event

import pytest

from app.agents.contract import UNMETERED, AgentTimedOut, ToolContext, Turn
from app.agents.runner import AgentRunner
from app.agents.turns import Said, Spending, TurnEvent, Usage
from tests.fakes.journal import FakeJournal, FakeSpending
from tests.model_server import Call, Drop, Hold, ModelServer, Reply
from tests.unit.agents.desk import a_desk, a_turn
from tests.unit.agents.served import a_served_desk

SOON_S = 5
"""generous: the machine may be busy; the run's own promise is measured end to end"""

STAGES: dict[str, Reply] = {"before a word": [Hold()], "in the midst": ["Hel", "lo", Hold(), " never"]}


async def cancel(turn: "asyncio.Task[Said]") -> float:
    """Cancel and say how long it took."""
    started_s = time.monotonic()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    return time.monotonic() - started_s


def begin(
    group: asyncio.TaskGroup, desk: AgentRunner, journal: FakeJournal, *, spending: Spending = UNMETERED
) -> "asyncio.Task[Said]":
    turn = a_turn("hello there")
    return group.create_task(desk.answer("helper", turn, journal=journal, timeout_s=60, spending=spending))


@pytest.mark.parametrize("reply", STAGES.values(), ids=STAGES.keys())
async def test_the_model_server_sees_its_client_leave(server: ModelServer, journal: FakeJournal, reply: Reply) -> None:
    server.script(reply)
    async with a_served_desk(server) as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal)
        assert await asyncio.to_thread(server.awaits, lambda: bool(server.requests))

        assert await cancel(turn) < SOON_S

        assert await asyncio.to_thread(server.awaits, lambda: bool(server.aborted))


async def test_what_a_cancelled_request_took_is_told_and_settled(server: ModelServer, journal: FakeJournal) -> None:
    spending = FakeSpending()
    server.script(["Hel", "lo", Hold()])
    async with a_served_desk(server, name="gpt-4o") as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal, spending=spending)
        await journal.until(lambda: journal.fold.text == "Hello")

        await cancel(turn)

    (usage,) = journal.of("usage")
    assert usage.data["is_estimated"]
    assert journal.fold.usage.output_tokens > 0
    assert journal.fold.usage.input_tokens > 0
    assert [(key, spent.cost) for key, spent in spending.settled] == [("run/model#1.1", journal.fold.usage.cost)]
    assert journal.fold.usage.cost
    assert journal.fold.text == "Hello"


async def test_a_deadline_is_a_cancellation(server: ModelServer, journal: FakeJournal) -> None:
    server.script(["Hel", Hold()])
    async with a_served_desk(server) as desk:
        with pytest.raises(AgentTimedOut):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=0.3)

        assert await asyncio.to_thread(server.awaits, lambda: bool(server.aborted))
    assert journal.types == ["text_delta", "usage"]


async def test_a_tool_is_cancelled_and_settled(server: ModelServer, journal: FakeJournal) -> None:
    at_work, cancelled, spending = asyncio.Event(), asyncio.Event(), FakeSpending()

    async def dawdle(ctx: ToolContext) -> str:
        """Take for ever."""
        at_work.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    server.script([Call("dawdle")])
    async with a_served_desk(server, dawdle) as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal, spending=spending)
        await at_work.wait()

        await cancel(turn)

    assert cancelled.is_set()
    assert not spending.open
    assert list(journal.kept) == ["run/model#1"]


async def test_a_plain_function_is_left_behind(server: ModelServer, journal: FakeJournal) -> None:
    at_work, may_end, ended = Event(), Event(), Event()

    def block(ctx: ToolContext) -> str:
        """Block a thread."""
        at_work.set()
        may_end.wait(30)
        ended.set()
        return "late"

    server.script([Call("block")])
    async with a_served_desk(server, block) as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal)
        assert await asyncio.to_thread(at_work.wait, 10)

        assert await cancel(turn) < SOON_S

        assert not ended.is_set()
        may_end.set()
        assert await asyncio.to_thread(ended.wait, 10)


async def test_a_pause_between_attempts_is_cancelled(
    server: ModelServer, journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agents.llm.model_step.FIRST_WAIT_S", 600)
    spending = FakeSpending()
    server.script(["Hel", Drop()])
    async with a_served_desk(server) as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal, spending=spending)
        await journal.until(lambda: bool(journal.of("usage")))

        assert await cancel(turn) < SOON_S

    assert not spending.open
    assert len(server.requests) == 1


async def test_an_agent_of_code_is_cancelled_in_its_piece(journal: FakeJournal) -> None:
    closed = asyncio.Event()

    class Endless:
        name = "helper"

        async def generate(self, turn: Turn) -> AsyncIterator[str]:
            try:
                yield "Hel"
                await asyncio.Event().wait()
            finally:
                closed.set()

    async with a_desk(Endless()) as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal)
        await journal.is_told.wait()

        await cancel(turn)

    assert closed.is_set()
    assert journal.fold.text == "Hel"


async def test_the_turn_after_a_cancelled_one_is_answered(server: ModelServer, journal: FakeJournal) -> None:
    server.script(["Hel", Hold()], ["Hello."])
    async with a_served_desk(server) as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal)
        await journal.is_told.wait()
        await cancel(turn)

        said = await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=30)

    assert said.text == "Hello."


class Slow(FakeSpending):
    """Takes for ever to write something down, the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = asyncio.Event()

    async def settle(self, key: str, spent: Usage, *, model: str = "") -> None:
        if not self.is_asked.is_set():
            self.is_asked.set()
            await asyncio.Event().wait()
        await super().settle(key, spent, model=model)


async def test_what_was_to_be_settled_when_the_turn_was_cancelled_is_settled_as_it_was(
    server: ModelServer, journal: FakeJournal
) -> None:
    spending = Slow()
    server.script(["Hello", "."])
    async with a_served_desk(server) as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal, spending=spending)
        await spending.is_asked.wait()

        await cancel(turn)

    ((_, spent),) = spending.settled
    assert spent.output_tokens == 2
    (usage,) = journal.of("usage")
    assert not usage.data["is_estimated"]


async def test_what_was_settled_before_the_turn_was_cancelled_is_not_settled_again(server: ModelServer) -> None:
    class Stuck(FakeJournal):
        async def tell(self, event: TurnEvent) -> None:
            await super().tell(event)
            if event.type == "usage":
                await asyncio.Event().wait()

    spending, journal = FakeSpending(), Stuck()
    server.script(["Hello", "."])
    async with a_served_desk(server) as desk, asyncio.TaskGroup() as group:
        turn = begin(group, desk, journal, spending=spending)
        await journal.until(lambda: bool(journal.of("usage")))

        await cancel(turn)

    assert len(spending.settled) == 1
    assert len(journal.of("usage")) == 1
