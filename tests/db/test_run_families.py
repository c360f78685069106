"""Families of runs in PostgreSQL: who is above whom, and what they spend together."""

from datetime import date, timedelta
from decimal import Decimal
from uuid import uuid4

from sqlalchemy import text

from app.agents.turns import Usage
from app.features.runs.repository import PostgresRunStore
from app.features.usage.domain.budget import Ancestor, Budgets, Limit, Payer, amounts_of
from app.features.usage.domain.spent import Settlement
from app.features.usage.ports import Reservation
from app.features.usage.repository.ledger import PostgresLedger
from app.infra.db.engine import Database
from app.infra.durable.ports import NewRun
from app.infra.durable.queue import PostgresRunQueue
from app.kernel.ids import RunId, UserId, new_run_id

TODAY = date(2026, 11, 28)


async def put(database: Database, *, agent: str, parent: RunId | None = None) -> RunId:
    async with database.begin() as tx:
        run = NewRun(new_run_id(), "nobodys", UserId("ann"), "research", {}, parent_id=parent, agent=agent)
        return await PostgresRunQueue().put(tx, run)


async def test_the_runs_above_one_are_read_from_the_nearest_up(database: Database) -> None:
    top = await put(database, agent="top")
    middle = await put(database, agent="middle", parent=top)
    lowest = await put(database, agent="lowest", parent=middle)
    await put(database, agent="sibling", parent=middle)

    async with database.begin() as tx:
        above = await PostgresRunStore().ancestors(tx, lowest)
        none = await PostgresRunStore().ancestors(tx, top)

    assert [run.agent for run in above] == ["middle", "top"]
    assert none == []


async def test_accounts_that_were_lost_know_again_what_the_whole_family_spent(database: Database) -> None:
    top = await put(database, agent="a")
    middle = await put(database, agent="a", parent=top)
    lowest = await put(database, agent="a", parent=middle)
    budgets = Budgets(run={Limit.REQUESTS: Decimal(3)})
    above = [Ancestor(middle, "a"), Ancestor(top, "a")]
    payers = [Payer(lowest, UserId("ann"), None, "a", above), Payer(middle, UserId("ann"), None, "a", above[1:])]
    ledger, session = PostgresLedger(database.begin, database.look), uuid4()
    for number, payer in enumerate((*payers, payers[0])):
        spent = [(claim.account, claim.amount) for claim in budgets.claims(payer, {Limit.REQUESTS: 1}, TODAY)]
        await ledger.settle(session, str(number), spent, Settlement(payer, TODAY, Usage(requests=1), "m", 1))

    async with database.statements() as connection:
        await connection.execute(text("DELETE FROM budget_accounts"))  # as a crash of the server does
    claims = budgets.claims(payers[0], amounts_of(Usage(requests=1), seconds=0), TODAY)
    full = await ledger.reserve(Reservation(session, "late", lowest, claims, timedelta(minutes=1)))

    assert full is not None
    assert (full.spent, full.is_for_good) == (3, True)
