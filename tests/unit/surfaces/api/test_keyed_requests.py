import asyncio

import pytest

from app.kernel.errors import Unavailable
from app.kernel.ids import UserId
from app.kernel.keyed_requests import (
    Answered,
    IdempotencyMismatch,
    KeptAnswer,
    RequestUnderWay,
    Taken,
    UnderWay,
)
from app.surfaces.api import keyed_requests
from app.surfaces.api.keyed_requests import KeyedRequests, Outcome, outcome_of
from tests.fakes.keyed_requests import FakeKeyedRequests

ANN = UserId("ann")
ONE, OTHER = b"1" * 32, b"2" * 32
DONE = KeptAnswer(201, {}, b"{}")


def a_desk(*, patience_s: float = 15, lease_s: float = 10) -> tuple[KeyedRequests, FakeKeyedRequests]:
    store = FakeKeyedRequests(lease_s=lease_s)
    return KeyedRequests(store, patience_s=patience_s), store


async def take(desk: KeyedRequests, digest: bytes = ONE) -> Taken:
    claim = await desk.claim(ANN, "k", digest, may_join=False)
    assert isinstance(claim, Taken)
    return claim


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (200, "local", Outcome.DONE),
        (202, "local", Outcome.DONE),
        (204, "local", Outcome.DONE),
        (400, "validation_failed", Outcome.REFUSED),
        (409, "chat_busy", Outcome.REFUSED),
        (429, "rate_limited", Outcome.REFUSED),
        (502, "agent_failed", Outcome.REFUSED),
        (503, "model_unavailable", Outcome.REFUSED),
        (504, "agent_timed_out", Outcome.REFUSED),
        (500, "internal", Outcome.UNKNOWN),
        (503, "storage_unavailable", Outcome.UNKNOWN),
    ],
)
def test_an_answer_tells_what_became_of_its_request(status: int, reason: str, expected: Outcome) -> None:
    assert outcome_of(status, reason) is expected


async def test_the_second_try_waits_for_the_answer_of_the_first() -> None:
    desk, _ = a_desk()
    first = await take(desk)

    async with asyncio.TaskGroup() as group:
        second = group.create_task(desk.claim(ANN, "k", ONE, may_join=False))
        await asyncio.sleep(0.05)
        was_waiting = not second.done()
        await desk.settle(first, Outcome.DONE, DONE)

    assert was_waiting
    assert second.result() == Answered(first.request, DONE)


async def test_the_second_try_takes_over_what_failed() -> None:
    desk, _ = a_desk()
    first = await take(desk)

    async with asyncio.TaskGroup() as group:
        second = group.create_task(desk.claim(ANN, "k", ONE, may_join=False))
        await asyncio.sleep(0.05)
        await desk.settle(first, Outcome.REFUSED, None)

    claim = second.result()
    assert isinstance(claim, Taken)
    assert claim.request.id != first.request.id


@pytest.mark.parametrize("answer", [None, DONE], ids=["nothing was answered", "an answer nobody can rely on"])
async def test_what_nobody_knows_the_end_of_is_the_same_request_for_the_next(answer: KeptAnswer | None) -> None:
    desk, _ = a_desk()
    first = await take(desk)

    await desk.settle(first, Outcome.UNKNOWN, answer)

    assert (await take(desk)).request == first.request


async def test_an_answer_that_is_not_kept_leaves_the_request_for_the_next() -> None:
    desk, _ = a_desk()
    first = await take(desk)

    await desk.settle(first, Outcome.DONE, None)

    assert (await take(desk)).request == first.request


async def test_the_wait_is_bounded_and_says_when_to_come_back() -> None:
    desk, _ = a_desk(patience_s=0.1)
    await take(desk)

    with pytest.raises(RequestUnderWay) as refusal:
        await desk.claim(ANN, "k", ONE, may_join=False)

    assert refusal.value.headers["retry-after"] == "2"


async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed_requests, "MAX_WAITING", 1)
    desk, _ = a_desk()
    first = await take(desk)
    async with asyncio.TaskGroup() as group:
        second = group.create_task(desk.claim(ANN, "k", ONE, may_join=False))
        await asyncio.sleep(0.05)

        with pytest.raises(RequestUnderWay):
            await desk.claim(ANN, "k", ONE, may_join=False)

        await desk.settle(first, Outcome.DONE, DONE)

    assert isinstance(second.result(), Answered)


async def test_who_may_join_does_not_wait() -> None:
    desk, _ = a_desk()
    first = await take(desk)

    assert await desk.claim(ANN, "k", ONE, may_join=True) == UnderWay(first.request)


async def test_who_joined_takes_nothing_away_from_the_one_who_works() -> None:
    desk, _ = a_desk()
    first = await take(desk)
    joined = await desk.claim(ANN, "k", ONE, may_join=True)
    assert isinstance(joined, UnderWay)

    await desk.settle(joined, Outcome.REFUSED, None)
    await desk.settle(joined, Outcome.UNKNOWN, None)
    held = await desk.claim(ANN, "k", ONE, may_join=True)
    await desk.settle(joined, Outcome.DONE, DONE)

    assert held == UnderWay(first.request)
    assert await desk.claim(ANN, "k", ONE, may_join=True) == Answered(first.request, DONE)


async def test_another_body_is_refused_at_once() -> None:
    desk, _ = a_desk()
    await take(desk)

    with pytest.raises(IdempotencyMismatch):
        await desk.claim(ANN, "k", OTHER, may_join=True)


async def test_a_hold_is_kept_while_the_work_lasts_and_runs_out_behind_it() -> None:
    desk, _ = a_desk(lease_s=0.2)
    first = await take(desk)
    async with desk.holding(first):
        for _ in range(8):
            await asyncio.sleep(0.05)
            await desk.keep_holds()
        during = await desk.claim(ANN, "k", ONE, may_join=True)
    await asyncio.sleep(0.05)
    await desk.keep_holds()
    await asyncio.sleep(0.25)

    assert during == UnderWay(first.request)
    assert (await take(desk)).request == first.request


async def test_a_store_that_is_away_costs_an_answer_and_no_request() -> None:
    desk, store = a_desk()
    first = await take(desk)
    store.is_away = True

    async with desk.holding(first):
        await desk.keep_holds()
    await desk.settle(first, Outcome.DONE, DONE)

    with pytest.raises(Unavailable):
        await desk.claim(ANN, "k", ONE, may_join=False)
