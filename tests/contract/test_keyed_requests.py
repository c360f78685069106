"""What the store of keyed requests and their receipts promise, asked of the fake and of PostgreSQL alike."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

import pytest

from app.infra.db.engine import Database
from app.infra.db.keyed_requests import PostgresKeyedRequests
from app.kernel.ids import UserId
from app.kernel.keyed_requests import (
    Answered,
    KeptAnswer,
    KeyedRequest,
    Mismatched,
    Receipts,
    RequestSuperseded,
    Taken,
    UnderWay,
)
from app.kernel.transaction import Tx
from app.surfaces.api.keyed_requests import KeyedRequestStore
from tests.fakes.keyed_requests import FakeKeyedRequests, Place, Row

ANN, BEN = UserId("ann"), UserId("ben")
ONE, OTHER = b"1" * 32, b"2" * 32
DONE = KeptAnswer(201, {"content-type": "application/json", "location": "/x"}, b'{"id":1}\0\xff')
SHORT_S = 0.05
PASSED_S = 0.1


class Store(KeyedRequestStore, Receipts, Protocol):
    def begin(self) -> AbstractAsyncContextManager[Tx]: ...


type Make = Callable[..., Store]


@pytest.fixture(params=["fake", "postgres"])
def make(request: pytest.FixtureRequest) -> Make:
    """Make a store whose holds and keys live for so many seconds; those of one test hold the same rows."""
    if request.param == "fake":
        rows: dict[Place, Row] = {}
        return lambda **seconds: FakeKeyedRequests(**seconds, rows=rows)
    database: Database = request.getfixturevalue("database")

    def of_postgres(*, life_s: float = 24 * 3600, lease_s: float = 10) -> Store:
        life, lease = timedelta(seconds=life_s), timedelta(seconds=lease_s)
        return PostgresKeyedRequests(database.begin, life=life, lease=lease)

    return of_postgres


@pytest.fixture
def store(make: Make) -> Store:
    return make()


async def taken(store: Store, owner: UserId = ANN, key: str = "k", digest: bytes = ONE) -> Taken:
    claim = await store.claim(owner, key, digest)
    assert isinstance(claim, Taken)
    return claim


async def found(store: Store, request: KeyedRequest) -> str | None:
    async with store.begin() as tx:
        return await store.find(tx, request)


async def note(store: Store, request: KeyedRequest, made: str) -> None:
    async with store.begin() as tx:
        await store.find(tx, request)
        await store.note(tx, request, made)


async def test_of_tries_at_the_same_time_one_gets_the_request(store: Store) -> None:
    claims = await asyncio.gather(*(store.claim(ANN, "k", ONE) for _ in range(10)))

    (one,) = [claim for claim in claims if isinstance(claim, Taken)]
    others = [claim for claim in claims if isinstance(claim, UnderWay)]
    assert len(others) == 9
    assert {claim.request for claim in others} == {one.request}
    assert (one.request.owner, one.request.key, one.request.digest) == (ANN, "k", ONE)


async def test_keys_belong_to_their_owner(store: Store) -> None:
    ours, theirs = await taken(store), await taken(store, BEN)
    another = await taken(store, ANN, "other")

    assert len({ours.request.id, theirs.request.id, another.request.id}) == 3


async def test_a_key_of_another_request_is_a_mismatch_before_and_after_the_answer(store: Store) -> None:
    one = await taken(store)
    before = await store.claim(ANN, "k", OTHER)
    await store.answer(one.request, DONE)

    assert (before, await store.claim(ANN, "k", OTHER)) == (Mismatched(), Mismatched())


async def test_an_answer_is_given_again_byte_for_byte(store: Store) -> None:
    one = await taken(store)
    await store.answer(one.request, DONE)

    assert await store.claim(ANN, "k", ONE) == Answered(one.request, DONE)


async def test_the_first_answer_stays(store: Store) -> None:
    one = await taken(store)
    await store.answer(one.request, DONE)
    await store.answer(one.request, KeptAnswer(200, {}, b""))
    await store.forget(one)

    assert await store.claim(ANN, "k", ONE) == Answered(one.request, DONE)


async def test_what_was_released_is_the_same_request_in_the_next_try(store: Store) -> None:
    one = await taken(store)
    await store.release(one)
    again = await taken(store)

    assert again.request == one.request
    assert again.hold != one.hold


async def test_what_was_forgotten_is_a_new_request(store: Store) -> None:
    one = await taken(store)
    await store.forget(one)

    assert (await taken(store, digest=OTHER)).request.id != one.request.id


async def test_a_hold_that_ran_out_is_the_next_ones_and_its_first_holder_can_take_nothing_back(make: Make) -> None:
    one = await taken(make(lease_s=SHORT_S))
    await asyncio.sleep(PASSED_S)
    store = make()
    again = await taken(store)
    await store.release(one)
    await store.forget(one)

    assert again.request == one.request
    assert await store.claim(ANN, "k", ONE) == UnderWay(one.request)


async def test_a_renewed_hold_lasts(make: Make) -> None:
    brief, store = make(lease_s=SHORT_S), make()
    one, lost = await taken(brief), await taken(brief, key="lost")
    await store.renew({one.hold: one.request.id})
    await asyncio.sleep(PASSED_S)

    assert await store.claim(ANN, "k", ONE) == UnderWay(one.request)
    assert (await taken(store, key="lost")).request == lost.request


async def test_a_key_is_forgotten_after_its_day_whatever_became_of_it(make: Make) -> None:
    store = make(life_s=SHORT_S)
    one = await taken(store)
    await note(store, one.request, "7")
    await store.answer(one.request, DONE)
    await asyncio.sleep(PASSED_S)
    again = await taken(store, digest=OTHER)

    assert again.request.id != one.request.id
    assert await found(store, again.request) is None


async def test_a_sweep_takes_what_is_old_and_nothing_else(make: Make) -> None:
    old = await taken(make(life_s=SHORT_S), key="old")
    await asyncio.sleep(PASSED_S)
    store = make()
    young = await taken(store, key="young")
    await store.sweep()

    assert await found(store, young.request) is None
    with pytest.raises(RequestSuperseded):
        await found(store, old.request)


async def test_a_receipt_is_found_by_the_next_try(store: Store) -> None:
    one = await taken(store)
    before = await found(store, one.request)
    await note(store, one.request, "17")
    await store.release(one)
    again = await taken(store)

    assert before is None
    assert await found(store, again.request) == "17"


async def test_a_receipt_is_undone_with_what_it_stands_for(store: Store) -> None:
    one = await taken(store)

    async def fail() -> None:
        async with store.begin() as tx:
            await store.note(tx, one.request, "17")
            raise RuntimeError("it did not come to anything")

    with pytest.raises(RuntimeError):
        await fail()

    assert await found(store, one.request) is None


async def test_tries_at_the_same_time_make_it_once(store: Store) -> None:
    one = await taken(store)
    made: list[str] = []

    async def make_once(number: int) -> str:
        async with store.begin() as tx:
            earlier = await store.find(tx, one.request)
            if earlier is not None:
                return earlier
            await asyncio.sleep(0.01)
            made.append(str(number))
            await store.note(tx, one.request, str(number))
            return str(number)

    results = await asyncio.gather(*(make_once(number) for number in range(5)))

    assert len(made) == 1
    assert set(results) == set(made)


async def test_a_try_that_comes_back_after_the_request_failed_makes_nothing(store: Store) -> None:
    one = await taken(store)
    await store.forget(one)
    await taken(store)

    with pytest.raises(RequestSuperseded):
        await found(store, one.request)
