"""A process of spenders for `test_budgets.py`, until the budget is gone.

`python spenders.py DSN TOKENS LIFE_S COUNT`
"""

import asyncio
import random
import sys
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from app.agents.turns import BudgetReached, Usage
from app.features.usage.domain.budget import Budgets, Limit, Payer
from app.features.usage.repository.ledger import PostgresLedger
from app.features.usage.use_cases.meter_run import MeterRun
from app.infra.db.engine import Database, DatabaseOptions
from app.kernel.clock import SystemClock
from app.kernel.ids import ChatId, RunId, UserId

MOST = Usage(900, 100, 1)


async def spend_all(dsn: str, tokens: int, life_s: float, count: int) -> None:
    options = DatabaseOptions(dsn=dsn, pool_size=5, max_overflow=0, max_waiting=10_000, pool_timeout_s=300)
    database = Database(options)
    ledger = PostgresLedger(database.begin, database.look)
    budgets = Budgets(day={Limit.TOKENS: Decimal(tokens)}, user={Limit.TOKENS: Decimal(tokens * 10)})
    meter = MeterRun(ledger, budgets, SystemClock(), patience_s=0, life=timedelta(seconds=life_s))

    async def spend(number: int) -> None:
        payer = Payer(RunId(uuid4()), UserId(f"user-{number % 50}"), ChatId(number), "echo")
        async with meter(payer, is_resumed=False) as spending:
            for call in range(sys.maxsize):
                try:
                    await spending.reserve(str(call), MOST)
                except BudgetReached as reached:
                    if reached.evidence["held"] == 0:
                        return
                    await asyncio.sleep(random.uniform(0.1, 1))
                    continue
                await asyncio.sleep(random.uniform(0, 0.2))
                taken = Usage(random.randint(1, 900), random.randint(1, 100), 1)
                await spending.settle(str(call), taken, model="small")

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(spend(number))
    await database.aclose()


if __name__ == "__main__":
    dsn, tokens, life_s, count = sys.argv[1:]
    asyncio.run(spend_all(dsn, int(tokens), float(life_s), int(count)))
