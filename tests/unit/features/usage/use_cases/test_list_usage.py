from datetime import date
from decimal import Decimal
from uuid import uuid4

import pytest

from app.agents.turns import Usage
from app.features.usage.domain.budget import Payer
from app.features.usage.domain.spent import Dimension, Settlement, UsageFilter
from app.features.usage.use_cases.list_usage import ListUsage
from app.kernel.errors import Forbidden, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import RunId, UserId
from app.kernel.paging import ListQuery
from tests.fakes.chat_slice import ADMIN, ANN, BEN, MANAGER
from tests.fakes.ledger import no_transaction
from tests.fakes.usage import FakeUsageStore


def a_list() -> ListUsage:
    spent = [
        Settlement(Payer(RunId(uuid4()), who.user_id), date(2026, 11, 28), Usage(requests=1, cost=Decimal(1)))
        for who in (ANN, ANN, BEN)
    ]
    return ListUsage(no_transaction, FakeUsageStore(spent))


async def requests(who: Principal, user_id: str | None = None) -> list[int]:
    only = UsageFilter(user_id=None if user_id is None else UserId(user_id))
    page = await a_list()(who, ListQuery(), by=[Dimension.USER], only=only)
    return [one.usage.requests for one in page.items]


async def test_everybody_sees_ones_own_and_staff_sees_all() -> None:
    assert await requests(ANN) == [2]
    assert await requests(ANN, "ann") == [2]
    assert await requests(MANAGER) == [1, 2]
    assert await requests(ADMIN, "ben") == [1]


async def test_somebody_elses_is_for_staff() -> None:
    with pytest.raises(Forbidden):
        await requests(ANN, "ben")


@pytest.mark.parametrize(
    ("query", "field"),
    [(ListQuery(ids=(1,)), "ids"), (ListQuery(order_by="agent"), "orderBy")],
)
async def test_what_sums_cannot_be_asked_is_refused(query: ListQuery, field: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        await a_list()(ANN, query, by=[Dimension.DAY], only=UsageFilter())

    assert [error.field for error in refusal.value.errors] == [field]
