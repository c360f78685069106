"""Which endpoint of an upstream a request is given: the least busy that is well, and none that is known to fail."""

import asyncio
from collections import Counter

import pytest

from app.edge.breaker import BreakerState
from app.edge.endpoint import EndpointState, Member, Probe, UpstreamEndpoint
from app.edge.faults import UpstreamUnavailable
from app.edge.upstream_failures import (
    ConnectRefused,
    ConnectTimedOut,
    Phase,
    PoolExhausted,
    UpstreamBroken,
    UpstreamFailure,
    UpstreamTimedOut,
)
from app.edge.upstreams import Upstream, open_upstreams, renew_upstreams
from app.settings import UpstreamRow

REFUSED = ConnectRefused("nobody listens", phase=Phase.CONNECT)


def opened(number: int = 1, **row: object) -> Upstream:
    urls = [f"http://127.0.0.{place}:9" for place in range(1, number + 1)]
    given = {"urls": urls, "breaker_failures": 2, **row}
    return open_upstreams({"one": UpstreamRow.model_validate(given)})["one"]


def hold(member: Member, number: int) -> None:
    """Make so many requests of an endpoint's pool, none of which is dialled."""
    for _ in range(number):
        assert member.pool._reserve() is not None


def eject(member: Member) -> None:
    for _ in range(2):
        member.note_failure(REFUSED)


def names(*picked: UpstreamEndpoint) -> list[int]:
    return [int(one.name.removesuffix(":9").rpartition(".")[2]) for one in picked]


async def test_equals_are_asked_in_turn() -> None:
    upstream = opened(3)

    picked = names(*(upstream.pick() for _ in range(9)))

    assert Counter(picked) == {1: 3, 2: 3, 3: 3}
    assert picked[:3] == picked[3:6]


async def test_the_least_busy_is_asked() -> None:
    upstream = opened(3)
    for member, number in zip(upstream.endpoints, (3, 1, 2), strict=True):
        hold(member, number)

    assert names(*(upstream.pick() for _ in range(5))) == [2] * 5


async def test_after_a_failure_another_is_asked_even_if_it_is_busier() -> None:
    upstream = opened(2)
    first, second = upstream.endpoints
    hold(second, 5)

    assert upstream.has_other(first)
    assert {upstream.pick(first) for _ in range(5)} == {second}


async def test_the_only_one_is_asked_again() -> None:
    upstream = opened()
    (only,) = upstream.endpoints

    assert upstream.pick() is upstream.pick(only) is only
    assert not upstream.has_other(only)


async def test_who_fails_is_left_alone_while_another_is_well() -> None:
    upstream = opened(3)

    eject(upstream.endpoints[0])

    assert upstream.endpoints[0].state is EndpointState.EJECTED
    assert set(names(*(upstream.pick() for _ in range(10)))) == {2, 3}


async def test_when_none_is_left_the_answer_comes_at_once_and_says_when_to_come_back() -> None:
    upstream = opened(2)
    for member in upstream.endpoints:
        eject(member)

    with pytest.raises(UpstreamUnavailable) as caught:
        upstream.pick()

    assert caught.value.headers in ({"retry-after": "1"}, {"retry-after": "2"})
    assert caught.value.evidence["upstream"] == "one"


COUNTED = [
    ConnectRefused("x", phase=Phase.CONNECT),
    ConnectTimedOut("x", phase=Phase.CONNECT),
    UpstreamBroken("x", phase=Phase.SEND, sent=True),
    UpstreamBroken("x", phase=Phase.HEAD, sent=True, answered=True),
    UpstreamTimedOut("x", phase=Phase.SEND, sent=True),
    UpstreamTimedOut("x", phase=Phase.HEAD, sent=True),
]
NOT_COUNTED = [
    PoolExhausted("x", phase=Phase.WAIT),
    UpstreamBroken("x", phase=Phase.BODY, sent=True, answered=True),
    UpstreamTimedOut("x", phase=Phase.BODY, sent=True, answered=True),
]


@pytest.mark.parametrize(
    ("failure", "state"),
    [(one, EndpointState.EJECTED) for one in COUNTED] + [(one, EndpointState.READY) for one in NOT_COUNTED],
)
async def test_failures_before_the_head_count(failure: UpstreamFailure, state: EndpointState) -> None:
    (only,) = opened().endpoints

    for _ in range(2):
        only.note_failure(failure)

    assert only.state is state
    assert only.last_failure == f"{type(failure).__name__}: x"


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_who_is_overloaded_yields_to_another_but_is_not_cut_off(status: int) -> None:
    alone, shared = opened(), opened(2)

    for member in (alone.endpoints[0], shared.endpoints[0]):
        for _ in range(100):
            member.note_answer(status)

    assert alone.endpoints[0].state is EndpointState.READY
    assert shared.endpoints[0].state is EndpointState.EJECTED


async def test_of_all_that_are_overloaded_one_remains() -> None:
    upstream = opened(3)

    for member in upstream.endpoints:
        for _ in range(100):
            member.note_answer(503)

    assert [member.state for member in upstream.endpoints].count(EndpointState.READY) == 1


@pytest.mark.parametrize("status", [200, 404, 429, 500, 501])
async def test_other_answers_are_answers(status: int) -> None:
    (first, _) = opened(2).endpoints

    for _ in range(100):
        first.note_answer(status)

    assert first.state is EndpointState.READY


# --- the probe --------------------------------------------------------------------------------------------------------


def half_open(*, endpoints: int = 1) -> tuple[Upstream, Member]:
    upstream = opened(endpoints)
    first = upstream.endpoints[0]
    eject(first)
    first.offer_probe()
    return upstream, first


async def test_exactly_one_request_is_a_probe() -> None:
    upstream, _ = half_open()

    probe = upstream.pick()

    assert isinstance(probe, Probe)
    with pytest.raises(UpstreamUnavailable):
        upstream.pick()


async def test_a_probe_that_is_answered_opens_the_way() -> None:
    upstream, member = half_open()

    upstream.pick().note_answer(404)

    assert member.state is EndpointState.READY
    assert upstream.pick() is member


async def test_a_probe_that_fails_makes_the_pause_longer() -> None:
    upstream, member = half_open()
    before_s = member.breaker.reopens_at_s

    upstream.pick().note_failure(REFUSED)

    assert member.breaker.state is BreakerState.OPEN
    assert member.breaker.reopens_at_s > before_s + 0.5
    with pytest.raises(UpstreamUnavailable):
        upstream.pick()


async def test_a_probe_that_finds_out_nothing_makes_room_for_the_next() -> None:
    upstream, _ = half_open()

    upstream.pick().note_end()
    second = upstream.pick()
    second.note_failure(PoolExhausted("x", phase=Phase.WAIT))
    third = upstream.pick()

    assert isinstance(second, Probe)
    assert isinstance(third, Probe)


async def test_a_probe_that_has_made_room_is_no_longer_heard() -> None:
    upstream, member = half_open()
    first = upstream.pick()
    first.note_end()
    upstream.pick()

    first.note_answer(200)
    first.note_failure(REFUSED)

    assert member.breaker.state is BreakerState.PROBING


async def test_what_was_sent_before_decides_nothing_while_a_probe_is_out() -> None:
    upstream, member = half_open()
    upstream.pick()

    member.note_answer(200)
    eject(member)

    assert member.breaker.state is BreakerState.PROBING


async def test_a_second_try_is_no_probe_while_another_is_well() -> None:
    upstream, first = half_open(endpoints=2)
    second = upstream.endpoints[1]

    again = upstream.pick(second)

    assert again is second
    assert first.breaker.state is BreakerState.HALF_OPEN
    assert isinstance(upstream.pick(), Probe)


async def test_a_probe_that_fails_has_somewhere_else_to_go() -> None:
    upstream, first = half_open(endpoints=2)
    probe = upstream.pick()

    probe.note_failure(REFUSED)

    assert upstream.has_other(probe)
    assert upstream.pick(probe) is upstream.endpoints[1]
    assert first.state is EndpointState.EJECTED


async def test_a_probe_that_is_overloaded_yields_only_to_another() -> None:
    alone, member = half_open()
    shared, first = half_open(endpoints=2)

    alone.pick().note_answer(503)
    shared.pick().note_answer(503)

    assert (member.state, first.state) == (EndpointState.READY, EndpointState.EJECTED)


async def test_a_pause_ends_by_itself() -> None:
    upstream = opened()
    eject(upstream.endpoints[0])

    async with asyncio.timeout(10):
        while upstream.endpoints[0].breaker.state is BreakerState.OPEN:  # noqa: ASYNC110 - a timer's doing
            await asyncio.sleep(0.05)

    assert isinstance(upstream.pick(), Probe)
    await upstream.aclose()


async def test_checks_that_pass_again_end_a_pause() -> None:
    upstream = opened()
    (only,) = upstream.endpoints
    for has_passed in (False, False):
        only.note_check("x", has_passed=has_passed)
    eject(only)

    for has_passed in (True, True):
        only.note_check("x", has_passed=has_passed)

    assert only.state is EndpointState.READY
    assert upstream.pick() is only


async def test_who_fails_its_checks_gets_no_probe_while_another_is_well() -> None:
    upstream, first = half_open(endpoints=2)

    for _ in range(2):
        first.note_check("x", has_passed=False)

    assert upstream.pick() is upstream.endpoints[1]
    assert first.breaker.state is BreakerState.HALF_OPEN


async def test_a_breaker_is_believed_where_checks_pass() -> None:
    upstream = opened()
    (only,) = upstream.endpoints

    eject(only)
    only.note_check("x", has_passed=True)

    with pytest.raises(UpstreamUnavailable):
        upstream.pick()


# --- a changed table --------------------------------------------------------------------------------------------------


def rows(**urls: str) -> dict[str, UpstreamRow]:
    return {name: UpstreamRow(url=url) for name, url in urls.items()}


async def test_an_unchanged_row_keeps_its_upstream() -> None:
    before = open_upstreams(rows(a="http://127.0.0.1:1", b="http://127.0.0.1:2", c="http://127.0.0.1:3"))

    after, leaving = renew_upstreams(before, rows(a="http://127.0.0.1:1", b="http://127.0.0.1:9", d="http://[::1]:4"))

    assert after["a"] is before["a"]
    assert leaving == [before["b"], before["c"]]
    assert {name: one.pick().name for name, one in after.items()} == {
        "a": "127.0.0.1:1",
        "b": "127.0.0.1:9",
        "d": "::1:4",
    }
