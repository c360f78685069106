"""One of two endpoints dies, freezes or comes back: no request fails that could have succeeded (promise P7)."""

import asyncio
from collections import Counter

import pytest

from app.edge.breaker import BreakerState
from app.edge.endpoint import Member
from tests.wire.caller import get, post
from tests.wire.front import Front
from tests.wire.hostile import HI, Visit, eventually, silent

GET = get(b"/pair/x")

over_asgi = pytest.mark.parametrize("front_gateway", ["uvloop-httptools"], indirect=True)
over_both = pytest.mark.parametrize("front_gateway", ["portico", "uvloop-httptools"], indirect=True)


@pytest.fixture
async def pair(front: Front) -> Front:
    """The gateway as if nothing had ever gone wrong at the two endpoints."""

    async def forget() -> None:
        for member in members(front):
            if member.breaker.state is not BreakerState.CLOSED:
                member.readmit()
            member.breaker.close(0)

    asyncio.run_coroutine_threadsafe(forget(), front.loop).result(10)
    return front


def members(front: Front) -> list[Member]:
    return list(front.edge.upstreams["pair"].endpoints)


async def offer_probe(front: Front, member: Member) -> None:
    """End the pause of an ejected endpoint now."""

    async def offer() -> None:
        member.offer_probe()

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(offer(), front.loop))


async def eject_both(front: Front) -> None:
    """Ask, with nobody listening at either, until it is no longer tried."""
    while (await front.ask(GET)).status != 503:
        pass


async def patient(visit: Visit) -> None:
    """Answer every request after a moment, so that some are on their way at any time."""
    while True:
        await visit.request()
        await asyncio.sleep(0.002)
        await visit.send(HI)


async def ask_often(front: Front, statuses: Counter[int], number: int) -> None:
    async with front.calling() as caller:
        for _ in range(number):
            await caller.send(GET)
            statuses[(await caller.answer()).status] += 1


@over_both
async def test_requests_are_shared(pair: Front) -> None:
    async with pair.upstream(patient) as first, pair.second(patient) as second:
        statuses: Counter[int] = Counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask_often(pair, statuses, 10))

        assert statuses == {200: 40}
        shares = [sum(visit.received.count(b" HTTP/1.1") for visit in one.visits) for one in (first, second)]
        assert min(shares) >= 10


@over_both
async def test_the_death_of_one_under_load_fails_no_request(pair: Front) -> None:
    statuses: Counter[int] = Counter()
    async with pair.second(patient):
        async with asyncio.TaskGroup() as group, pair.upstream(patient):
            for _ in range(8):
                group.create_task(ask_often(pair, statuses, 40))
            await eventually(lambda: statuses[200] > 40)

        assert statuses == {200: 320}
        assert any(line.get("retries") for line in pair.answered)


@over_both
async def test_one_that_does_not_listen_costs_nobody_an_answer(pair: Front) -> None:
    async with pair.second(patient):
        answers = [await pair.ask(post(b"/pair/x", b"hello")) for _ in range(30)]

        assert {answered.status for answered in answers} == {200}
        retries = sum(line.get("retries", 0) for line in pair.answered)
        assert 1 <= retries <= 7  # five until it is left alone, and what probes there were
        assert members(pair)[0].last_failure.startswith("ConnectRefused")


@over_asgi
async def test_one_that_is_frozen_delays_a_few_and_is_left_alone(pair: Front) -> None:
    async with pair.upstream(silent) as frozen, pair.second(patient):
        statuses: Counter[int] = Counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(ask_often(pair, statuses, 1))
        delayed = len(frozen.visits)

        for _ in range(10):
            statuses[(await pair.ask(GET)).status] += 1

        assert statuses == {200: 22}
        assert delayed >= 5
        assert len(frozen.visits) - delayed <= 1  # a probe


@over_both
async def test_without_any_the_answer_is_503_at_once_and_nobody_is_asked(pair: Front) -> None:
    await eject_both(pair)
    before = [member.pool.counts.connects for member in members(pair)]

    answered = await pair.ask(GET)

    assert (answered.status, answered.problem["type"]) == (503, "upstream-unavailable")
    assert answered.first(b"retry-after") in {b"1", b"2"}
    assert [member.pool.counts.connects for member in members(pair)] == before
    await eventually(lambda: any(line["reason"] == "upstream_unavailable" for line in pair.answered))


@over_both
async def test_exactly_one_request_finds_out_whether_it_is_back(pair: Front) -> None:
    gate = asyncio.Event()

    async def slow(visit: Visit) -> None:
        await visit.request()
        await gate.wait()
        await visit.send(HI)
        await patient(visit)

    await eject_both(pair)
    async with pair.upstream(slow) as upstream:
        first = members(pair)[0]
        await offer_probe(pair, first)

        async with asyncio.TaskGroup() as group:
            probe = group.create_task(pair.ask(GET))
            await eventually(lambda: len(upstream.visits) == 1)
            others = [await pair.ask(GET) for _ in range(5)]
            gate.set()

        assert probe.result().status == 200
        assert [answered.status for answered in others] == [503] * 5
        assert len(upstream.visits) == 1
        assert [(await pair.ask(GET)).status for _ in range(3)] == [200] * 3


@over_both
async def test_a_client_that_leaves_with_the_probe_makes_room_for_the_next(pair: Front) -> None:
    async def first_is_slow(visit: Visit) -> None:
        await (patient if visit.number else silent)(visit)

    await eject_both(pair)
    async with pair.upstream(first_is_slow) as upstream:
        first = members(pair)[0]
        await offer_probe(pair, first)
        async with pair.calling() as caller:
            await caller.send(GET)
            await eventually(lambda: len(upstream.visits) == 1)
        await eventually(lambda: first.breaker.state is BreakerState.HALF_OPEN)

        answered = await pair.ask(GET)

        assert answered.status == 200
