"""What the ledger of the budgets promises, asked of the fake and of PostgreSQL alike."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from app.agents.turns import Usage
from app.features.usage.domain.budget import Ancestor, Budgets, Limit, Limits, Payer, Scope, amounts_of
from app.features.usage.domain.spent import Settlement
from app.features.usage.ports import Full, Ledger, Reservation
from app.features.usage.repository.ledger import PostgresLedger
from app.infra.db.engine import Database
from app.kernel.ids import ChatId, RunId, UserId
from app.kernel.transaction import Begin
from tests.fakes.ledger import FakeLedger, no_transaction

TODAY, TOMORROW = date(2026, 11, 28), date(2026, 11, 29)
ANN, BEN = UserId("ann"), UserId("ben")
ONE = Usage(requests=1)
LONG = timedelta(minutes=15)


def most(**limits: object) -> Limits:
    return {Limit(name): Decimal(str(value)) for name, value in limits.items()}


def a_payer(user_id: UserId = ANN, *, chat_id: int | None = 1, run_id: UUID | None = None) -> Payer:
    return Payer(RunId(run_id or uuid4()), user_id, None if chat_id is None else ChatId(chat_id), "assistant")


@dataclass
class Till:
    """A ledger and the budgets it is asked for."""

    ledger: Ledger
    begin: Begin
    budgets: Budgets = field(default_factory=Budgets)
    session: UUID = field(default_factory=uuid4)

    async def reserve(
        self,
        payer: Payer,
        key: str,
        estimate: Usage = ONE,
        *,
        day: date = TODAY,
        life: timedelta = LONG,
        is_first: bool = False,
    ) -> Full | None:
        claims = self.budgets.claims(payer, amounts_of(estimate, seconds=0), day)
        return await self.ledger.reserve(Reservation(self.session, key, payer.run_id, claims, life, is_first))

    async def settle(
        self, payer: Payer, key: str, spent: Usage = ONE, *, day: date = TODAY, milliseconds: int = 0, model: str = "m"
    ) -> None:
        claims = self.budgets.claims(payer, amounts_of(spent, seconds=milliseconds / 1000), day)
        booked = [(claim.account, claim.amount) for claim in claims]
        await self.ledger.settle(self.session, key, booked, Settlement(payer, day, spent, model, milliseconds))

    async def spend(self, payer: Payer, spent: Usage = ONE, *, day: date = TODAY) -> bool:
        """Do one call from start to end; False where there was no room for it."""
        key = str(uuid4())
        if await self.reserve(payer, key, spent, day=day) is not None:
            return False
        await self.settle(payer, key, spent, day=day)
        return True

    async def close(self, payer: Payer) -> Usage:
        async with self.begin() as tx:
            return await self.ledger.close(tx, payer.run_id)


@pytest.fixture(params=["fake", "postgres"])
def till(request: pytest.FixtureRequest) -> Till:
    if request.param == "fake":
        return Till(FakeLedger(), no_transaction)
    database: Database = request.getfixturevalue("database")
    return Till(PostgresLedger(database.begin, database.look), database.begin)


async def test_what_fits_is_set_aside_and_what_does_not_is_not(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=2))
    payer = a_payer()

    first, second, third = [await till.reserve(payer, key) for key in ("a", "b", "c")]

    assert (first, second) == (None, None)
    assert third is not None
    assert (third.spent, third.held, third.claim.most) == (0, 2, 2)
    assert (third.claim.account.purse.scope, third.claim.account.limit) == (Scope.RUN, Limit.REQUESTS)
    assert not third.is_for_good


async def test_what_is_set_aside_first_counts_like_what_comes_after_it(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=2, tokens=100))
    payer = a_payer()

    first = await till.reserve(payer, "a", Usage(requests=1, input_tokens=10), is_first=True)
    second, third = [await till.reserve(payer, key) for key in ("b", "c")]

    assert (first, second) == (None, None)
    assert third is not None
    assert (third.spent, third.held, third.claim.account.limit) == (0, 2, Limit.REQUESTS)


async def test_of_a_first_one_that_has_no_room_nothing_is_set_aside(till: Till) -> None:
    """As for a run whose children were at work before it asked a model itself."""
    till.budgets = Budgets(run=most(requests=1, tokens=100))
    payer = a_payer()
    await till.reserve(payer, "a child's")
    refused = await till.reserve(payer, "a", Usage(requests=1, input_tokens=70), is_first=True)
    await till.settle(payer, "a child's", Usage())

    assert refused is not None
    assert refused.claim.account.limit is Limit.REQUESTS
    assert await till.reserve(payer, "b", Usage(requests=1, input_tokens=70)) is None


async def test_what_was_spent_is_spent_for_good(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=2))
    payer = a_payer()
    await till.spend(payer)
    await till.spend(payer)

    full = await till.reserve(payer, "c")

    assert full is not None
    assert (full.spent, full.held, full.is_for_good) == (2, 0, True)


async def test_what_was_set_aside_too_much_is_there_again(till: Till) -> None:
    till.budgets = Budgets(run=most(tokens=100))
    payer = a_payer()
    await till.reserve(payer, "a", Usage(input_tokens=90))
    before = await till.reserve(payer, "b", Usage(input_tokens=90))
    await till.settle(payer, "a", Usage(input_tokens=4, output_tokens=6))

    assert before is not None
    assert await till.reserve(payer, "b", Usage(input_tokens=90)) is None


async def test_a_call_larger_than_what_is_left_is_made_while_no_other_is_under_way(till: Till) -> None:
    till.budgets = Budgets(run=most(tokens=100))
    payer = a_payer()
    large = Usage(input_tokens=1000)

    first, second = await till.reserve(payer, "a", large), await till.reserve(payer, "b", large)
    await till.settle(payer, "a", Usage(input_tokens=99))
    third = await till.reserve(payer, "c", large)
    await till.settle(payer, "c", large)
    fourth = await till.reserve(payer, "d", Usage(input_tokens=1))

    assert (first, third) == (None, None)
    assert second is not None
    assert not second.is_for_good
    assert fourth is not None
    assert (fourth.spent, fourth.is_for_good) == (1099, True)


async def test_what_children_spend_counts_for_the_runs_above_them(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=3))
    above = a_payer()
    middle = replace(a_payer(), ancestors=[Ancestor(above.run_id, above.agent)])
    lowest = [replace(a_payer(), ancestors=[Ancestor(middle.run_id, "x"), *middle.ancestors]) for _ in range(2)]

    spent = [await till.spend(payer) for payer in (lowest[0], middle, lowest[1])]
    refused = [await till.reserve(payer, "late") for payer in (above, middle, *lowest, a_payer())]

    assert spent == [True] * 3
    assert [full is None for full in refused] == [False, False, False, False, True]
    assert {full.spent for full in refused if full} == {3}


async def test_a_child_has_the_budget_of_its_own_agent_and_the_run_above_it_that_of_its(till: Till) -> None:
    till.budgets = Budgets(agents={"cheap": most(requests=1), "dear": most(requests=2)})
    above = Ancestor(RunId(uuid4()), "dear")
    first, second, third = [
        replace(a_payer(), agent=agent, ancestors=[above]) for agent in ("cheap", "cheap", "assistant")
    ]

    done = [await till.spend(payer) for payer in (first, first, second, third)]

    assert done == [True, False, True, False]


async def test_seconds_are_each_runs_own(till: Till) -> None:
    till.budgets = Budgets(run=most(seconds=1))
    above = a_payer()
    child = replace(a_payer(), ancestors=[Ancestor(above.run_id)])
    await till.settle(child, "a", milliseconds=5000)

    claims = till.budgets.claims(above, amounts_of(ONE, seconds=1), TODAY)

    assert await till.ledger.reserve(Reservation(till.session, "b", above.run_id, claims, LONG)) is None


async def test_a_limit_of_nought_lets_nothing_through(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=0))

    full = await till.reserve(a_payer(), "a")

    assert full is not None
    assert full.is_for_good


async def test_it_is_set_aside_everywhere_or_nowhere(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=5), user=most(requests=1), day=most(requests=5), chat=most(requests=5))
    payer = a_payer()
    await till.spend(payer)

    full = await till.reserve(payer, "b")
    till.budgets = Budgets(run=most(requests=1), day=most(requests=1), chat=most(requests=1))
    others = [await till.reserve(payer, key) for key in ("c",)]

    assert full is not None
    assert full.claim.account.purse.scope is Scope.USER
    assert others[0] is not None
    assert (others[0].spent, others[0].held) == (1, 0)


@pytest.mark.parametrize(
    ("budgets", "limit"),
    [
        (Budgets(run=most(requests=1)), Limit.REQUESTS),
        (Budgets(run=most(tool_calls=1)), Limit.TOOL_CALLS),
        (Budgets(run=most(tokens=7)), Limit.TOKENS),
        (Budgets(run=most(cost="0.25")), Limit.COST),
    ],
    ids=lambda value: value.value if isinstance(value, Limit) else "",
)
async def test_each_limit_counts_what_it_says(till: Till, budgets: Budgets, limit: Limit) -> None:
    till.budgets = budgets
    spent = Usage(3, 4, requests=1, tool_calls=1, cost=Decimal("0.25"))
    payer = a_payer()
    await till.spend(payer, spent)

    full = await till.reserve(payer, "b", spent)

    assert full is not None
    assert full.claim.account.limit is limit
    assert full.spent == full.claim.most


async def test_seconds_are_counted_in_thousandths(till: Till) -> None:
    till.budgets = Budgets(run=most(seconds=2))
    payer = a_payer()
    await till.settle(payer, "a", ONE, milliseconds=1999)

    claims = till.budgets.claims(payer, amounts_of(ONE, seconds=60), TODAY)
    reservation = Reservation(till.session, "b", payer.run_id, claims, LONG)
    alone = await till.ledger.reserve(reservation)
    await till.settle(payer, "b", ONE, milliseconds=1)
    full = await till.ledger.reserve(reservation)

    assert alone is None
    assert full is not None
    assert full.spent == 2000


@pytest.mark.parametrize(
    ("budgets", "other"),
    [
        (Budgets(run=most(requests=1)), a_payer()),
        (Budgets(chat=most(requests=1)), a_payer(chat_id=2)),
        (Budgets(chat=most(requests=1)), a_payer(chat_id=None)),
        (Budgets(user=most(requests=1)), a_payer(BEN)),
    ],
    ids=["another run", "another chat", "no chat", "another user"],
)
async def test_a_budget_is_for_one(till: Till, budgets: Budgets, other: Payer) -> None:
    till.budgets = budgets
    await till.spend(a_payer())

    assert await till.spend(other)


@pytest.mark.parametrize(
    "budgets",
    [Budgets(user=most(requests=1)), Budgets(day=most(requests=1))],
    ids=["a user's", "everybody's"],
)
async def test_a_daily_budget_is_of_one_day(till: Till, budgets: Budgets) -> None:
    till.budgets = budgets

    spent = [await till.spend(a_payer(), day=day) for day in (TODAY, TODAY, TOMORROW, TOMORROW)]

    assert spent == [True, False, True, False]


@pytest.mark.parametrize(
    "budgets",
    [
        Budgets(run=most(requests=3)),
        Budgets(chat=most(requests=3)),
        Budgets(user=most(requests=3)),
        Budgets(day=most(requests=3)),
    ],
    ids=["run", "chat", "user", "day"],
)
async def test_a_new_limit_knows_what_was_spent_before(till: Till, budgets: Budgets) -> None:
    payer = a_payer()
    await till.settle(payer, "a", Usage(requests=2), model="one")
    till.budgets = budgets
    await till.settle(payer, "b", ONE, model="other")

    full = await till.reserve(payer, "c")

    assert full is not None
    assert (full.spent, full.is_for_good) == (3, True)


async def test_what_was_reserved_by_another_process_is_not_settled_by_ours(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=2))
    payer = a_payer()
    await till.reserve(payer, "a")
    theirs = Till(till.ledger, till.begin, till.budgets)
    await theirs.settle(payer, "a")

    full = await till.reserve(payer, "b")

    assert full is not None
    assert (full.spent, full.held) == (1, 1)


async def test_a_run_that_is_begun_again_gets_back_what_was_set_aside_for_it_alone(till: Till) -> None:
    till.budgets = Budgets(user=most(requests=2))
    lost, other = a_payer(), a_payer()
    await till.reserve(lost, "a")
    await till.reserve(other, "a2")
    before = await till.reserve(lost, "b")
    await till.ledger.release(lost.run_id)

    assert before is not None
    assert await till.reserve(lost, "b") is None
    assert await till.reserve(lost, "c") is not None


async def test_a_run_that_ends_gives_back_what_is_set_aside_and_comes_to_what_it_spent(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=9), user=most(requests=9))
    payer, priced = a_payer(), Usage(10, 5, requests=1, cost=Decimal("0.5"))
    await till.settle(payer, "a", priced, model="m")
    await till.settle(payer, "b", Usage(tool_calls=1), model="")
    await till.settle(payer, "c", priced, model="other", day=TOMORROW)
    await till.reserve(payer, "d", Usage(requests=7))
    before = await till.reserve(a_payer(), "e", Usage(requests=7))

    spent = await till.close(payer)

    assert before is not None
    assert spent == Usage(20, 10, requests=2, tool_calls=1, cost=Decimal(1))
    assert await till.reserve(a_payer(), "e", Usage(requests=7)) is None


async def test_a_run_without_a_price_costs_nothing_that_is_known(till: Till) -> None:
    payer = a_payer()
    await till.settle(payer, "a", ONE)

    assert (await till.close(payer)).cost is None
    assert await till.close(a_payer()) == Usage()


async def test_what_is_settled_after_the_end_is_counted_all_the_same(till: Till) -> None:
    till.budgets = Budgets(run=most(requests=1), user=most(requests=1))
    payer = a_payer()
    await till.reserve(payer, "a")
    await till.close(payer)
    await till.settle(payer, "a")

    full = await till.reserve(a_payer(), "b")

    assert full is not None
    assert (full.spent, full.held) == (1, 0)


async def test_a_sweep_gives_back_what_outlived_its_reservation(till: Till) -> None:
    till.budgets = Budgets(user=most(requests=2))
    await till.reserve(a_payer(), "dead", life=timedelta(milliseconds=10))
    await till.reserve(a_payer(), "alive")
    await asyncio.sleep(0.05)
    before = await till.reserve(a_payer(), "next")
    await till.ledger.sweep()

    assert before is not None
    assert await till.reserve(a_payer(), "next") is None
    assert await till.reserve(a_payer(), "one too many") is not None


async def test_of_many_at_once_as_many_get_through_as_there_is_room_for(till: Till) -> None:
    till.budgets = Budgets(
        run=most(requests=100), chat=most(requests=100), user=most(requests=7), day=most(requests=100)
    )
    payers = [a_payer(chat_id=number) for number in range(30)]

    spent = await asyncio.gather(*(till.spend(payer) for payer in payers))
    while await till.spend(a_payer()):  # who was refused because of what others had set aside may come again
        spent.append(True)

    assert spent.count(True) == 7
