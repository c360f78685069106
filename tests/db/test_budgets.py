"""The ledger of the budgets on a real database: many at once, a database that died, deadlocks, and what is locked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.agents.turns import BudgetReached, Spending, Usage
from app.features.usage.domain.budget import Budgets, Limit, Limits, Payer
from app.features.usage.repository.ledger import PostgresLedger
from app.features.usage.use_cases.meter_run import MeterRun
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.durable.ports import NewRun
from app.infra.durable.queue import PostgresRunQueue
from app.kernel.clock import SystemClock
from app.kernel.ids import ChatId, RunId, UserId, new_run_id

ESTIMATE, TAKEN = Usage(900, 100, 1, cost=Decimal("0.010")), Usage(400, 50, 1, cost=Decimal("0.0037"))
COLUMNS = {
    Limit.REQUESTS: "sum(requests)",
    Limit.TOKENS: "sum(input_tokens + output_tokens)",
    Limit.COST: "sum(cost)",
}


@pytest.fixture
async def processes(database: Database, migrated_dsn: str) -> AsyncIterator[list[Database]]:
    """As many pools as three workers would have, none larger than a worker's."""
    options = DatabaseOptions(dsn=migrated_dsn, pool_size=5, max_overflow=0, max_waiting=2000, pool_timeout_s=60)
    pools = [Database(options) for _ in range(3)]
    yield pools
    for pool in pools:
        await pool.aclose()


def most(limit: Limit, value: object) -> Limits:
    return {limit: Decimal(str(value))}


@dataclass
class Crowd:
    """Spenders on three processes, each with a run of its own.

    Where others' calls fill the budget for the moment, they give up, or come again until it is gone.
    """

    processes: list[Database]
    budgets: Budgets
    calls: int = 3
    comes_again: bool = False
    made: int = 0
    refused: int = 0
    _clock: SystemClock = field(default_factory=SystemClock)

    async def _reserve(self, spending: Spending, key: str) -> None:
        while True:
            try:
                await spending.reserve(key, ESTIMATE)
            except BudgetReached as reached:
                if not self.comes_again or reached.evidence["held"] == 0:
                    raise
                await asyncio.sleep(0.01)
            else:
                return

    async def spend(self, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._spend(number))

    async def _spend(self, number: int) -> None:
        process = self.processes[number % len(self.processes)]
        meter = MeterRun(PostgresLedger(process.begin, process.look), self.budgets, self._clock, patience_s=0)
        payer = Payer(RunId(uuid4()), UserId("ann"), ChatId(number % 7), "echo")
        async with meter(payer, is_resumed=False) as spending:
            for call in range(self.calls):
                try:
                    await self._reserve(spending, str(call))
                except BudgetReached:
                    self.refused += 1
                    continue
                await asyncio.sleep(0)
                self.made += 1
                await spending.settle(str(call), TAKEN, model="small")


async def spent(database: Database, limit: Limit) -> Decimal:
    async with database.engine.connect() as connection:
        found = await connection.scalar(text(f"SELECT coalesce({COLUMNS[limit]}, 0) FROM usage"))
    return Decimal(found or 0)


async def standing(database: Database) -> list[tuple[int, int]]:
    """What is spent and set aside on each account, but those of runs."""
    async with database.engine.connect() as connection:
        rows = await connection.execute(text("SELECT spent, held FROM budget_accounts ORDER BY spent"))
        return [(row.spent, row.held) for row in rows]


@pytest.mark.parametrize(
    ("count", "limit", "value", "one"),
    [
        (1000, Limit.TOKENS, 20_000, 450),
        (200, Limit.REQUESTS, 40, 1),
        (200, Limit.COST, "0.2", Decimal("0.0037")),
    ],
    ids=["tokens", "requests", "cost"],
)
async def test_a_thousand_spenders_at_once_never_pass_a_budget_by_more_than_one_settlement(
    database: Database, processes: list[Database], count: int, limit: Limit, value: object, one: object
) -> None:
    crowd = Crowd(processes, Budgets(user=most(limit, value)), calls=1)

    await crowd.spend(count)

    total = await spent(database, limit)
    assert crowd.made + crowd.refused == count
    assert crowd.made >= 18
    assert total <= Decimal(str(value)) + Decimal(str(one))
    assert [held for _, held in await standing(database)] == [0]


async def test_all_of_a_budget_is_used_by_those_who_come_again(database: Database, processes: list[Database]) -> None:
    crowd = Crowd(processes, Budgets(day=most(Limit.TOKENS, 20_000)), calls=6, comes_again=True)

    await crowd.spend(40)

    total = await spent(database, Limit.TOKENS)
    assert 20_000 <= total < 20_000 + 450


async def test_every_account_of_every_spender_adds_up(database: Database, processes: list[Database]) -> None:
    """Four purses and three limits for each call, in any order at once: nobody waits for each other for ever."""
    plenty = {limit: Decimal(10**6) for limit in (Limit.REQUESTS, Limit.TOKENS, Limit.COST, Limit.SECONDS)}
    crowd = Crowd(processes, Budgets(run=plenty, chat=plenty, user=plenty, day=plenty))

    await crowd.spend(60)

    assert (crowd.made, crowd.refused) == (180, 0)
    assert await spent(database, Limit.REQUESTS) == 180
    accounts = await standing(database)
    assert all(held == 0 for _, held in accounts)
    # sixty runs, seven chats, a user and a day, each with three requests or more
    assert sum(amount for amount, _ in accounts if amount < 10**3) >= 180


async def test_after_a_crash_of_the_database_accounts_begin_with_what_was_spent(
    database: Database, processes: list[Database]
) -> None:
    budgets = Budgets(user=most(Limit.REQUESTS, 10))
    await Crowd(processes, budgets, calls=1).spend(6)
    async with database.engine.begin() as connection:  # what a crash does to tables that are not logged
        await connection.execute(text("TRUNCATE budget_accounts, budget_reservations"))

    crowd = Crowd(processes, budgets, calls=1)
    await crowd.spend(20)

    assert crowd.made == 4
    assert await spent(database, Limit.REQUESTS) == 10


async def test_a_run_that_ends_has_its_usage_in_its_row(database: Database) -> None:
    run_id = new_run_id()
    ledger = PostgresLedger(database.begin, database.look)
    meter = MeterRun(ledger, Budgets(), SystemClock())
    async with meter(Payer(run_id, UserId("ann")), is_resumed=False) as spending:
        await spending.settle("a", TAKEN, model="small")
        await spending.settle("b", Usage(tool_calls=1))

    async with database.begin() as tx:
        await PostgresRunQueue().put(tx, NewRun(run_id, "turn", UserId("ann"), "exchange", {}))
        await ledger.close(tx, run_id)

    async with database.engine.connect() as connection:
        row = (await connection.execute(text("SELECT usage, cost FROM runs"))).one()
    assert row.usage == {"input_tokens": 400, "output_tokens": 50, "requests": 1, "tool_calls": 1}
    assert row.cost == Decimal("0.0037")


async def test_runs_that_end_while_others_spend_and_sweep_wait_for_nobody_for_ever(
    database: Database, processes: list[Database]
) -> None:
    plenty = dict.fromkeys((Limit.REQUESTS, Limit.TOKENS, Limit.COST), Decimal(10**6))
    budgets = Budgets(run=plenty, chat=plenty, user=plenty, day=plenty)

    async def work(number: int) -> None:
        process = processes[number % len(processes)]
        ledger, run_id = PostgresLedger(process.begin, process.look), new_run_id()
        meter = MeterRun(ledger, budgets, SystemClock())
        payer = Payer(run_id, UserId(f"user-{number % 3}"), ChatId(number % 5), "echo")
        async with meter(payer, is_resumed=True) as spending:
            await spending.reserve("a", ESTIMATE)
            await spending.settle("a", TAKEN, model="small")
            await spending.reserve("left behind", ESTIMATE)
        async with process.begin() as tx:
            await ledger.close(tx, run_id)

    async def sweep() -> None:
        while True:
            await PostgresLedger(processes[0].begin, processes[0].look).sweep()

    async with asyncio.TaskGroup() as group:
        sweeping = group.create_task(sweep())
        async with asyncio.TaskGroup() as runs:
            for number in range(120):
                runs.create_task(work(number))
        sweeping.cancel()

    accounts = await standing(database)
    assert await spent(database, Limit.REQUESTS) == 120
    assert {held for _, held in accounts} == {0}
    # three users, five chats and a day are left of it, the runs are not
    assert len(accounts) == (3 + 5 + 1) * len(plenty)
