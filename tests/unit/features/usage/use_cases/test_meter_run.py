import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from app.agents.turns import BudgetReached, Spending, Usage
from app.features.usage.domain.budget import Budgets, Limit, Payer
from app.features.usage.use_cases.meter_run import MeterRun
from app.kernel.clock import SystemClock
from app.kernel.errors import Unavailable
from app.kernel.ids import ChatId, RunId, UserId
from tests.fakes.ledger import FakeLedger
from tests.unit.edge.parts import StillClock

MIDNIGHT_S = datetime(2026, 11, 28, tzinfo=UTC).timestamp()
ONE = Usage(requests=1)
FEW = {Limit.REQUESTS: Decimal(2)}


@dataclass
class Bank:
    budgets: Budgets = field(default_factory=Budgets)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    clock: StillClock = field(default_factory=lambda: StillClock(MIDNIGHT_S + 23 * 3600))
    open_ones: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def open(self, *, run_id: UUID | None = None, is_resumed: bool = False, patience_s: float = 0.0) -> Spending:
        meter = MeterRun(self.ledger, self.budgets, self.clock, patience_s)
        payer = Payer(RunId(run_id or uuid4()), UserId("ann"), ChatId(1), "echo")
        return await self.open_ones.enter_async_context(meter(payer, is_resumed=is_resumed))


async def test_what_was_spent_is_written_down_with_its_model_and_its_time() -> None:
    bank = Bank()
    spending = await bank.open()

    await spending.reserve("a", Usage(100, 100, 1))
    bank.clock.now_s += 1.5
    await spending.settle("a", Usage(3, 4, 1, cost=Decimal("0.1")), model="small")

    (what,) = bank.ledger.settlements
    assert (what.spent, what.model, what.milliseconds) == (Usage(3, 4, 1, cost=Decimal("0.1")), "small", 1500)
    assert what.day == date(2026, 11, 28)


async def test_without_a_limit_nothing_is_set_aside() -> None:
    bank = Bank()
    spending = await bank.open()

    await spending.reserve("a", Usage(10**9, 10**9, 10**9))

    assert bank.ledger.reservations == {}


async def test_a_run_that_reached_its_budget_is_told_which() -> None:
    bank = Bank(Budgets(run=FEW))
    spending = await bank.open()
    for key in ("a", "b"):
        await spending.reserve(key, ONE)
        await spending.settle(key, ONE)

    with pytest.raises(BudgetReached) as reached:
        await spending.reserve("c", ONE)

    assert reached.value.detail == "The run's budget of 2 model requests is used up."
    assert reached.value.headers == {}
    assert reached.value.evidence == {"budget": "run", "limit": "requests", "spent": 2, "held": 0}


async def test_a_daily_budget_tells_when_there_is_more_and_there_is() -> None:
    bank = Bank(Budgets(user=FEW))
    spending = await bank.open()
    for key in ("a", "b"):
        await spending.reserve(key, ONE)
        await spending.settle(key, ONE)

    with pytest.raises(BudgetReached) as reached:
        await spending.reserve("c", ONE)
    bank.clock.now_s += int(reached.value.headers["retry-after"])
    await spending.reserve("d", ONE)

    assert reached.value.headers["retry-after"] == "3600"
    assert reached.value.detail.endswith("from 2026-11-29T00:00:00Z.")


async def test_a_call_over_midnight_is_of_the_day_it_began() -> None:
    bank = Bank(Budgets(user=FEW))
    spending = await bank.open()

    await spending.reserve("a", ONE)
    bank.clock.now_s += 7200
    await spending.settle("a", ONE)

    assert [what.day for what in bank.ledger.settlements] == [date(2026, 11, 28)]
    assert bank.ledger.reservations == {}


async def test_what_others_set_aside_is_waited_for() -> None:
    bank = Bank(Budgets(user=FEW))
    others, ours = await bank.open(), await bank.open(patience_s=1000)
    for key in ("a", "b"):
        await others.reserve(key, ONE)

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(ours.reserve("c", ONE))
        await asyncio.sleep(0.02)
        was_waiting = not waiting.done()
        await others.settle("a", Usage())

    assert was_waiting
    assert len(bank.ledger.reservations) == 2


async def test_the_wait_for_others_is_bounded() -> None:
    bank = Bank(Budgets(user=FEW))
    others, ours = await bank.open(), await bank.open(patience_s=0.01)
    for key in ("a", "b"):
        await others.reserve(key, ONE)

    with pytest.raises(BudgetReached) as reached:
        await ours.reserve("c", ONE)

    assert reached.value.detail.startswith("What is left of your budget of 2 model requests")
    assert reached.value.headers["retry-after"] == "5"


async def test_a_run_begun_again_gets_back_what_a_dead_process_set_aside() -> None:
    bank = Bank(Budgets(run=FEW))
    run_id = uuid4()
    dead = await bank.open(run_id=run_id)
    for key in ("a", "b"):
        await dead.reserve(key, ONE)

    alive = await bank.open(run_id=run_id, is_resumed=True)
    for key in ("a", "b"):
        await alive.reserve(key, ONE)

    assert len(bank.ledger.reservations) == 2


async def test_what_could_not_be_written_down_is_with_the_next() -> None:
    bank = Bank()
    spending = await bank.open()
    bank.ledger.is_away = True

    with capture_logs() as lines:
        await spending.settle("a", ONE)
    bank.ledger.is_away = False
    await spending.settle("b", Usage(requests=2))

    assert [what.spent.requests for what in bank.ledger.settlements] == [2, 1]
    assert [line["event"] for line in lines] == ["usage.late"]


async def test_what_could_not_be_written_down_is_when_the_run_leaves_the_process() -> None:
    bank = Bank()
    spending = await bank.open()
    bank.ledger.is_away = True
    await spending.settle("a", ONE)
    bank.ledger.is_away = False

    await bank.open_ones.aclose()

    assert [what.spent for what in bank.ledger.settlements] == [ONE]


async def test_a_settlement_that_is_cut_off_is_not_lost() -> None:
    bank = Bank()
    spending = await bank.open()
    bank.ledger.is_silent = True

    async with asyncio.TaskGroup() as group:
        cut_off = group.create_task(spending.settle("a", ONE))
        await asyncio.sleep(0)
        cut_off.cancel()
    bank.ledger.is_silent = False
    await spending.settle("b", ONE)

    assert len(bank.ledger.settlements) == 2


async def test_a_run_that_works_for_longer_than_it_may_is_cut_off_and_what_it_took_is_written_down() -> None:
    bank = Bank(Budgets(run={Limit.SECONDS: Decimal("0.05")}))
    spending = await bank.open()

    async def work() -> None:
        await spending.reserve("a", ONE)
        try:
            await asyncio.Event().wait()
        finally:
            await spending.settle("a", ONE)

    with pytest.raises(BudgetReached) as reached:
        async with bank.open_ones:
            await work()

    assert reached.value.detail == "The run's budget of 0.05 seconds of work is used up."
    assert [what.spent for what in bank.ledger.settlements] == [ONE]


async def test_a_run_of_an_agent_with_time_has_more_of_it() -> None:
    agents = {"echo": {Limit.SECONDS: Decimal(60)}}
    bank = Bank(Budgets(run={Limit.SECONDS: Decimal("0.01")}, agents=agents))

    async with bank.open_ones:
        await bank.open()
        await asyncio.sleep(0.05)


async def test_what_takes_too_long_by_its_own_measure_is_not_the_budgets() -> None:
    bank = Bank(Budgets(run={Limit.SECONDS: Decimal(60)}))
    await bank.open()

    with pytest.raises(TimeoutError):
        async with bank.open_ones:
            raise TimeoutError


async def test_a_ledger_that_is_away_lets_nobody_spend() -> None:
    bank = Bank(Budgets(run=FEW), clock=SystemClock())  # type: ignore[arg-type] # any clock does
    spending = await bank.open()
    bank.ledger.is_away = True

    with pytest.raises(Unavailable):
        await spending.reserve("a", ONE)
