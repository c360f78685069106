from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from app.agents.turns import Usage
from app.features.usage.domain.budget import Payer
from app.features.usage.domain.spent import Settlement
from app.features.usage.use_cases.close_run import CloseRun
from app.features.usage.use_cases.forget_usage import ForgetUsage
from app.kernel.ids import RunId, UserId
from tests.fakes.ledger import FakeLedger, no_transaction
from tests.fakes.usage import FakeUsageStore
from tests.unit.edge.parts import StillClock


def a_settlement(day: date) -> Settlement:
    return Settlement(Payer(RunId(uuid4()), UserId("ann")), day, Usage(requests=1))


async def test_what_is_older_than_it_is_kept_is_forgotten() -> None:
    store = FakeUsageStore([a_settlement(date(2026, 11, day)) for day in (1, 2, 3)])
    clock = StillClock(datetime(2026, 11, 4, 12, tzinfo=UTC).timestamp())

    await ForgetUsage(store, clock, timedelta(days=2))()

    assert [what.day.day for what in store.settlements] == [2, 3]


async def test_a_run_comes_to_what_it_spent() -> None:
    ledger = FakeLedger(settlements=[a_settlement(date(2026, 11, 1))])
    run_id = ledger.settlements[0].payer.run_id

    async with no_transaction() as tx:
        spent = await CloseRun(ledger)(tx, run_id)

    assert spent == ledger.closed[run_id] == Usage(requests=1)
