"""What is handed to readers comes to each in order, and those who do not read have their turn meanwhile."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from app.infra.events.delivery import AT_ONCE, MAX_WAITING, Delivery
from app.infra.events.ports import EventType, RunEvent
from app.infra.events.readers import Reader
from app.kernel.ids import new_run_id

RUN = new_run_id()


def event(seq: int) -> RunEvent:
    return RunEvent(seq, EventType.TEXT_DELTA, RUN, None, datetime(2026, 1, 1, tzinfo=UTC), {"text": "x"})


def a_reader() -> Reader:
    reader = Reader()
    reader.begin_anew()
    return reader


def waiting(reader: Reader) -> list[int]:
    return [event.seq for event, _ in reader._waiting]


@asynccontextmanager
async def working() -> AsyncIterator[Delivery]:
    delivery = Delivery()
    async with asyncio.TaskGroup() as group:
        work = group.create_task(delivery.work())
        yield delivery
        work.cancel()


async def until_given(readers: list[Reader], seqs: list[int]) -> None:
    async with asyncio.timeout(10):
        while any(waiting(reader) != seqs for reader in readers):  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0)


async def test_a_few_readers_have_it_at_once() -> None:
    readers = [a_reader() for _ in range(AT_ONCE)]
    async with working() as delivery:
        delivery.hand(readers, event(1), 10)

        assert [waiting(reader) for reader in readers] == [[1]] * AT_ONCE


@pytest.mark.parametrize("count", [AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 10 * AT_ONCE])
async def test_everybody_has_everything_in_order(count: int) -> None:
    readers = [a_reader() for _ in range(count)]
    async with working() as delivery:
        for seq in range(1, 6):
            delivery.hand(readers, event(seq), 10)
            delivery.hand(readers[:1], event(seq + 100), 10)
        await until_given(readers[1:], [1, 2, 3, 4, 5])

    assert waiting(readers[0]) == [1, 101, 2, 102, 3, 103, 4, 104, 5, 105]


async def test_others_have_their_turn_between() -> None:
    crowds = [[a_reader() for _ in range(AT_ONCE // 4)] for _ in range(100)]  # many small ones are a large one, too
    given: list[int] = []
    async with working() as delivery:
        for crowd in crowds:
            delivery.hand(crowd, event(1), 10)
        while not given or given[-1] < 100 * (AT_ONCE // 4):
            given.append(sum(len(waiting(reader)) for crowd in crowds for reader in crowd))
            await asyncio.sleep(0)

    assert given[0] == AT_ONCE
    assert max(later - now for now, later in itertools.pairwise(given)) <= AT_ONCE


async def test_who_joins_behind_an_event_does_not_get_it() -> None:
    readers = [a_reader() for _ in range(2 * AT_ONCE)]
    late = a_reader()
    everybody = set(readers)
    async with working() as delivery:
        delivery.hand(everybody, event(1), 10)
        everybody.add(late)
        delivery.hand(everybody, event(2), 10)
        await until_given(readers, [1, 2])

    assert waiting(late) == [2]


async def test_it_is_full_until_something_has_gone_out() -> None:
    readers = [a_reader() for _ in range(AT_ONCE + 1)]
    delivery = Delivery()
    for seq in range(1, MAX_WAITING + 1):
        delivery.hand(readers, event(seq), 10)
    is_full = delivery.is_full

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting_for_room = group.create_task(delivery.has_room())
        await asyncio.sleep(0)
        waited = not waiting_for_room.done()
        work = group.create_task(delivery.work())
        await waiting_for_room
        work.cancel()

    assert is_full
    assert waited
    assert not delivery.is_full
