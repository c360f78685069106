"""When a worker makes a key, from when it signs, until when: by a clock that moves when told to."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from structlog.testing import capture_logs

from app.infra.durable.key_ring import AHEAD_S, PUBLISHED_S, RETRY_S, SET_BACK_S, SIGNS_S, KeyRing
from app.kernel.errors import Unavailable
from app.kernel.run_tokens import LIFE_S
from tests.fakes.live_tokens import FakeLiveTokens
from tests.unit.edge.parts import StillClock


def a_ring() -> tuple[KeyRing, FakeLiveTokens, StillClock]:
    published, clock = FakeLiveTokens(), StillClock()
    return KeyRing(published, clock), published, clock


async def test_no_key_is_made_before_one_is_needed_and_then_one_for_all() -> None:
    ring, published, _ = a_ring()
    before = dict(published.keys)

    keys = await asyncio.gather(*[ring.current() for _ in range(20)])

    assert before == {}
    assert {key.id for key in keys} == set(published.keys)
    assert len(published.keys) == 1


async def test_a_key_is_published_before_it_signs() -> None:
    ring, published, _ = a_ring()
    published.is_away = True

    with pytest.raises(Unavailable):
        await ring.current()


async def test_the_next_is_published_while_the_first_goes_on_signing_for_a_while() -> None:
    ring, published, clock = a_ring()
    first = await ring.current()
    clock.now_s += SIGNS_S - 1
    still = await ring.current()
    count = len(published.keys)

    clock.now_s += 1
    announced = await ring.current()
    count_announced = len(published.keys)
    clock.now_s += AHEAD_S
    second = await ring.current()

    assert (still, announced) == (first, first)
    assert (count, count_announced) == (1, 2)
    assert second.id in published.keys
    assert second is not first


async def test_no_token_outlives_the_published_key_it_was_signed_with() -> None:
    """Even if nobody asked when it was time for the next one."""
    ring, _, clock = a_ring()
    first = await ring.current()
    clock.now_s += PUBLISHED_S - LIFE_S - 1
    last = await ring.current()

    clock.now_s += 1
    second = await ring.current()

    assert last is first
    assert second is not first


async def test_while_none_can_be_published_the_first_goes_on_and_it_is_tried_now_and_then() -> None:
    ring, published, clock = a_ring()
    first = await ring.current()
    clock.now_s += SIGNS_S
    published.is_away = True
    with capture_logs() as lines:
        keys = [await ring.current() for _ in range(3)]
        clock.now_s += RETRY_S
        keys.append(await ring.current())

    assert keys == [first] * 4
    assert [line["event"] for line in lines] == ["signing_key.not_published"] * 2
    published.is_away = False
    clock.now_s += RETRY_S
    await ring.current()
    assert len(published.keys) == 2


@pytest.mark.parametrize(("seconds", "is_new"), [(SET_BACK_S, False), (SET_BACK_S + 1, True)])
async def test_a_clock_that_is_set_back_far_makes_a_new_key(seconds: int, *, is_new: bool) -> None:
    ring, _, clock = a_ring()
    first = await ring.current()

    clock.now_s -= seconds

    assert (await ring.current() is not first) is is_new


async def test_what_was_published_is_withdrawn_at_the_end() -> None:
    ring, published, clock = a_ring()
    await ring.current()
    clock.now_s += SIGNS_S
    await ring.current()
    count = len(published.keys)

    await ring.close()
    await ring.close()

    assert (count, published.keys) == (2, {})


async def test_a_private_key_is_not_shown_and_not_logged() -> None:
    ring, _, _ = a_ring()
    with capture_logs() as lines:
        key = await ring.current()

    secret = str(key.private.private_numbers().d)
    assert "private" not in repr(key)
    assert secret not in repr((ring, key, lines))


async def test_to_make_a_key_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    ring, _, _ = a_ring()
    is_running = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slowly(exponent: int, bits: int) -> object:
        asyncio.run_coroutine_threadsafe(_set(is_running), loop).result(10)  # the loop is free to do this meanwhile
        return generate_private_key(exponent, bits)

    monkeypatch.setattr("app.infra.durable.key_ring.generate_private_key", slowly)

    await ring.current()

    assert is_running.is_set()


async def _set(event: asyncio.Event) -> None:
    event.set()
