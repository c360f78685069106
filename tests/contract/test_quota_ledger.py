"""What the ledger of the limits promises, asked of the fake and of PostgreSQL alike."""

import asyncio
from uuid import uuid4

import pytest

from app.edge.rate_limit_ledger import QuotaLedger
from app.infra.db.quotas import PostgresQuotaLedger
from app.kernel.clock import SystemClock
from tests.fakes.quotas import FakeQuotaLedger

ANN, BEN = b"a" * 16, b"b" * 16
LONG_S = 1000.0
"""Against which the time a test takes is nothing."""


@pytest.fixture(params=["fake", "postgres"])
def ledger(request: pytest.FixtureRequest) -> QuotaLedger:
    if request.param == "fake":
        return FakeQuotaLedger(SystemClock())
    return PostgresQuotaLedger(request.getfixturevalue("database").begin)


def nearly(seconds: float) -> object:
    return pytest.approx(seconds, abs=30)


async def test_what_is_booked_adds_up(ledger: QuotaLedger) -> None:
    await ledger.book({ANN: LONG_S})

    assert await ledger.book({ANN: 2 * LONG_S, BEN: LONG_S}) == {ANN: nearly(3 * LONG_S), BEN: nearly(LONG_S)}


async def test_what_is_given_back_is_there_again(ledger: QuotaLedger) -> None:
    await ledger.book({ANN: 3 * LONG_S})

    assert await ledger.book({ANN: -LONG_S}) == {ANN: nearly(2 * LONG_S)}


async def test_a_bucket_is_never_fuller_than_full(ledger: QuotaLedger) -> None:
    await ledger.book({ANN: 1.0})
    await ledger.book({ANN: -LONG_S})

    assert await ledger.book({ANN: LONG_S, BEN: -LONG_S}) == {ANN: nearly(LONG_S), BEN: 0}


async def test_to_ask_books_nothing(ledger: QuotaLedger) -> None:
    await ledger.book({ANN: LONG_S})

    assert await ledger.book({ANN: 0.0, BEN: 0.0}) == {ANN: nearly(LONG_S), BEN: 0}


async def test_time_fills_a_bucket(ledger: QuotaLedger) -> None:
    await ledger.book({ANN: 0.01})
    await asyncio.sleep(0.02)

    assert await ledger.book({ANN: 0.0}) == {ANN: 0}


async def test_bookings_at_the_same_time_all_count(ledger: QuotaLedger) -> None:
    keys = [bytes([number]) * 16 for number in range(20)]

    await asyncio.gather(*(ledger.book(dict.fromkeys(keys if turn % 2 else keys[::-1], LONG_S)) for turn in range(6)))

    assert await ledger.book(dict.fromkeys(keys, 0.0)) == dict.fromkeys(keys, nearly(6 * LONG_S))


async def test_what_is_full_again_is_forgotten_and_nothing_else(ledger: QuotaLedger) -> None:
    await ledger.book({ANN: LONG_S, BEN: 0.0})
    await asyncio.sleep(0.01)

    await ledger.forget_full()

    assert await ledger.book({ANN: 0.0, BEN: 0.0}) == {ANN: nearly(LONG_S), BEN: 0}


async def test_processes_that_are_there_are_counted(ledger: QuotaLedger) -> None:
    first, second = uuid4(), uuid4()

    counts = [await ledger.attend(process) for process in (first, second, first)]
    await ledger.leave(second)

    assert counts == [1, 2, 2]
    assert await ledger.attend(first) == 1
