"""A turn asks before it spends, says what it spent, and ends where it may not go on."""

import pytest

from app.agents.contract import ToolContext, Turn
from app.agents.turns import BudgetReached, TurnEvent, Usage
from app.kernel.errors import Unavailable
from tests.fakes.journal import FakeJournal, FakeSpending
from tests.model_server import Call, ModelServer, Reply
from tests.unit.agents.desk import a_desk, a_turn
from tests.unit.agents.served import a_served_desk


async def look_up(ctx: ToolContext, order_id: int) -> str:
    """Look an order up."""
    return "found"


SCRIPT: tuple[Reply, ...] = (["Let me look.", Call("look_up", {"order_id": 7})], ["It is there."])


async def test_each_request_and_each_call_is_reserved_and_settled(server: ModelServer, journal: FakeJournal) -> None:
    spending = FakeSpending()
    server.script(*SCRIPT)
    async with a_served_desk(server, look_up) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30, spending=spending)

    keys = ["run/model#1.1", "run/tool.look_up#1", "run/model#2.1"]
    assert [key for key, _ in spending.reserved] == [key for key, _ in spending.settled] == keys
    assert sum((spent for _, spent in spending.settled), Usage()) == said.usage
    assert spending.reserved[1][1] == Usage(tool_calls=1)
    (model, no_model, same_model) = spending.models
    assert model == same_model != no_model == ""


async def test_what_is_reserved_is_never_less_than_what_is_settled(server: ModelServer, journal: FakeJournal) -> None:
    spending = FakeSpending()
    server.script(*SCRIPT)
    async with a_served_desk(server, look_up, name="gpt-4o") as desk:
        await desk.answer("helper", a_turn("hello " * 100), journal=journal, timeout_s=30, spending=spending)

    for (_, most), (_, spent) in zip(spending.reserved, spending.settled, strict=True):
        assert most.input_tokens >= spent.input_tokens
        assert most.output_tokens >= spent.output_tokens
        assert (most.cost or 0) >= (spent.cost or 0)
    assert spending.reserved[0][1].cost


@pytest.mark.parametrize(
    ("allowed", "asked", "said"),
    [(0, 0, ""), (1, 1, "Let me look."), (2, 1, "Let me look."), (3, 2, "Let me look.\n\nIt is there.")],
    ids=["nothing", "a request", "and a call", "all"],
)
async def test_a_turn_ends_where_its_budget_does_and_what_was_said_stays(
    server: ModelServer, journal: FakeJournal, allowed: int, asked: int, said: str
) -> None:
    spending = FakeSpending(allows=allowed)
    server.script(*SCRIPT)
    async with a_served_desk(server, look_up) as desk:
        turn = desk.answer("helper", a_turn(), journal=journal, timeout_s=30, spending=spending)
        if allowed < 3:
            with pytest.raises(BudgetReached, match="this run"):
                await turn
        else:
            await turn

    assert journal.fold.text == said
    assert len(server.requests) == asked
    assert not spending.open
    assert len(journal.of("tool_call_start")) == (allowed > 1)


class Lost(Unavailable):
    """The storage is away."""


class LostJournal(FakeJournal):
    async def tell(self, event: TurnEvent) -> None:
        raise Lost("the storage is away")


class LostSpending(FakeSpending):
    async def reserve(self, key: str, estimate: Usage) -> None:
        raise Lost("the storage is away")


class LostAtTheEnd(FakeSpending):
    async def settle(self, key: str, spent: Usage, *, model: str = "") -> None:
        raise Lost("the storage is away")


class Code:
    name = "helper"

    async def generate(self, turn: Turn) -> str:
        return "Hello."


@pytest.mark.parametrize(
    ("journal", "spending"),
    [(LostJournal(), FakeSpending()), (FakeJournal(), LostSpending()), (FakeJournal(), LostAtTheEnd())],
    ids=["journal", "before", "after"],
)
async def test_a_journal_or_a_ledger_that_is_away_is_not_the_agents_failure(
    server: ModelServer, journal: FakeJournal, spending: FakeSpending
) -> None:
    """Whoever runs the turn tries again then; a failure of the agent would be its end."""
    server.script(*SCRIPT)
    async with a_served_desk(server, look_up) as desk:
        with pytest.raises(Lost):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30, spending=spending)


async def test_a_journal_that_is_away_is_not_the_failure_of_an_agent_of_code() -> None:
    async with a_desk(Code()) as desk:
        with pytest.raises(Lost):
            await desk.answer("helper", a_turn(), journal=LostJournal(), timeout_s=30)


async def test_a_journal_that_is_lost_while_a_tool_shows_something_is_not_the_tools_failure(
    server: ModelServer,
) -> None:
    class LostLater(FakeJournal):
        async def tell(self, event: TurnEvent) -> None:
            if event.type == "tool_output_chunk":
                raise Lost("the storage is away")
            await super().tell(event)

    async def show(ctx: ToolContext) -> str:
        """Show."""
        await ctx.show("something")
        return "done"

    server.script([Call("show")], ["never"])
    journal = LostLater()
    async with a_served_desk(server, show) as desk:
        with pytest.raises(Lost):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert not journal.of("tool_call_complete")
