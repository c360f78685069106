from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from app.agents.turns import Usage
from app.features.usage.domain.budget import (
    Account,
    Budgets,
    Claim,
    Limit,
    Payer,
    Purse,
    Scope,
    amounts_of,
    fits,
    free_again,
    said_of,
)
from app.kernel.ids import ChatId, RunId, UserId

TODAY = date(2026, 11, 28)
RUN = RunId(UUID(int=1))
PAYER = Payer(RUN, UserId("ann"), ChatId(7), "research")
ONE = {Limit.REQUESTS: Decimal(1)}


def a_claim(*, amount: int = 1, most: int = 10, scope: Scope = Scope.RUN, limit: Limit = Limit.REQUESTS) -> Claim:
    return Claim(Account(Purse(scope, "x", TODAY if scope.is_daily else None), limit), amount, most)


@pytest.mark.parametrize(
    ("amount", "spent", "held", "expected"),
    [
        (10, 0, 0, True),
        (1, 9, 0, True),
        (1, 5, 4, True),
        (1, 5, 5, False),
        (1, 10, 0, False),
        (11, 0, 0, True),
        (11, 9, 0, True),
        (11, 10, 0, False),
        (11, 0, 1, False),
        (0, 10, 0, True),
    ],
)
def test_what_fits(amount: int, spent: int, held: int, *, expected: bool) -> None:
    assert fits(a_claim(amount=amount), spent=spent, held=held) is expected


def test_each_scope_has_a_purse_of_its_own() -> None:
    budgets = Budgets(run=ONE, chat=ONE, user=ONE, day=ONE)

    purses = [claim.account.purse for claim in budgets.claims(PAYER, {Limit.REQUESTS: 1}, TODAY)]

    assert set(purses) == {
        Purse(Scope.RUN, str(RUN)),
        Purse(Scope.CHAT, "7"),
        Purse(Scope.USER, "ann", TODAY),
        Purse(Scope.DAY, "", TODAY),
    }


def test_nothing_is_asked_of_what_is_not_limited_or_not_spent() -> None:
    budgets = Budgets(run={Limit.REQUESTS: Decimal(5), Limit.TOKENS: Decimal(5)})

    claims = budgets.claims(PAYER, {Limit.REQUESTS: 1, Limit.TOKENS: 0, Limit.COST: 9}, TODAY)

    assert [(claim.account.limit, claim.amount, claim.most) for claim in claims] == [(Limit.REQUESTS, 1, 5)]


def test_an_agents_limits_stand_in_place_of_the_runs() -> None:
    budgets = Budgets(
        run={Limit.REQUESTS: Decimal(5), Limit.COST: Decimal(1)}, agents={"research": {Limit.REQUESTS: Decimal(500)}}
    )
    amounts = {Limit.REQUESTS: 1, Limit.COST: 1}

    of_research = budgets.claims(PAYER, amounts, TODAY)
    of_others = budgets.claims(Payer(RUN, PAYER.user_id), amounts, TODAY)

    assert [claim.most for claim in of_research] == [500, 10**9]
    assert [claim.most for claim in of_others] == [5, 10**9]


def test_amounts_are_whole_numbers_rounded_up() -> None:
    usage = Usage(3, 4, requests=1, tool_calls=2, cost=Decimal("0.0000000011"))

    assert amounts_of(usage, seconds=0.0301) == {
        Limit.REQUESTS: 1,
        Limit.TOOL_CALLS: 2,
        Limit.TOKENS: 7,
        Limit.COST: 2,
        Limit.SECONDS: 31,
    }


def test_what_has_no_price_costs_nothing() -> None:
    assert amounts_of(Usage(requests=1), seconds=0)[Limit.COST] == 0


def test_accounts_have_keys_of_their_own() -> None:
    purses = [
        Purse(Scope.USER, "a", TODAY),
        Purse(Scope.USER, "a", date(2026, 11, 29)),
        Purse(Scope.USER, "a\0", TODAY),
        Purse(Scope.RUN, "a"),
        Purse(Scope.CHAT, "a"),
    ]

    keys = {Account(purse, limit).key for purse in purses for limit in Limit}

    assert len(keys) == len(purses) * len(Limit)
    assert {len(key) for key in keys} == {16}


def test_a_daily_budget_is_free_again_at_midnight_and_others_never() -> None:
    assert free_again(Purse(Scope.DAY, "", TODAY)) == datetime(2026, 11, 29, tzinfo=UTC)
    assert free_again(Purse(Scope.RUN, "x")) is None


@pytest.mark.parametrize(
    ("claim", "is_for_good", "expected"),
    [
        (a_claim(most=50), True, "The run's budget of 50 model requests is used up."),
        (
            a_claim(most=2_500_000_000, scope=Scope.USER, limit=Limit.COST),
            True,
            "Your budget of 2.5 USD for a day is used up; there is more of it from 2026-11-29T00:00:00Z.",
        ),
        (
            a_claim(most=2_000_000, scope=Scope.CHAT, limit=Limit.TOKENS),
            True,
            "The chat's budget of 2000000 tokens is used up.",
        ),
        (
            a_claim(most=90_000, scope=Scope.DAY, limit=Limit.SECONDS),
            False,
            (
                "What is left of everybody's budget of 90 seconds of work for a day is set aside for calls that are "
                "under way; try again shortly."
            ),
        ),
    ],
    ids=["run", "user", "chat", "day"],
)
def test_words(claim: Claim, expected: str, *, is_for_good: bool) -> None:
    assert said_of(claim, is_for_good=is_for_good) == expected
