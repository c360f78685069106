import tracemalloc

import pytest

from app.edge.rate_limit import RateLimit, read_limit
from app.edge.rate_limit_counts import MAX_DUE, MAX_QUOTAS, MAX_REMEMBERED, Quotas, RateLimiter, network_of

NOW_S = 1000.0
SMALL = 64
SAMPLE = 2_000


def a_limit(rate_limit: str = "3/hour", name: str = "/x") -> RateLimit:
    limit = read_limit(rate_limit, None, name=name)
    assert limit is not None
    return limit


def a_small_limiter() -> RateLimiter:
    return RateLimiter(users=Quotas(SMALL), addresses=Quotas(SMALL))


def statuses(limiter: RateLimiter, limit: RateLimit, *addresses: str) -> list[bool]:
    return [limiter.take_of_address(limit, address, NOW_S).wait_s == 0 for address in addresses]


def test_callers_and_rows_are_counted_apart() -> None:
    limiter, one, other = RateLimiter(), a_limit("1/hour", "/one"), a_limit("1/hour", "/other")

    first = [
        limiter.take_of_user(one, "203.0.113.1", NOW_S),
        limiter.take_of_user(one, "ann", NOW_S),
        limiter.take_of_user(other, "ann", NOW_S),
        limiter.take_of_address(one, "203.0.113.1", NOW_S),
    ]

    assert [quota.wait_s for quota in first] == [0, 0, 0, 0]
    assert limiter.take_of_user(one, "ann", NOW_S).wait_s > 0
    assert limiter.refused_total == 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:0DB8:0001:0002::7", "2001:db8:1:2::"),
        ("2001:db8:1:3::", "2001:db8:1:3::"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("203.0.113.9", "203.0.113.9"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_one_household_is_one_caller(address: str, network: str) -> None:
    assert network_of(address) == network


def test_another_address_of_the_same_network_is_no_way_round() -> None:
    limiter, limit = RateLimiter(), a_limit("2/hour")

    assert statuses(limiter, limit, *(f"2001:db8::{number}" for number in range(4))) == [True, True, False, False]


def test_a_reload_keeps_the_bucket_and_takes_the_new_limit() -> None:
    limiter = RateLimiter()
    limiter.take_of_user(a_limit("5/hour"), "ann", NOW_S)

    quota = limiter.take_of_user(a_limit("3/hour"), "ann", NOW_S)

    assert quota.left == 2  # it held four, of which three fit in, less one
    assert len(limiter.users) == 1


def test_strangers_take_a_bounded_number_of_buckets_and_none_of_a_users() -> None:
    limiter, limit = a_small_limiter(), a_limit("1/hour")
    limiter.take_of_user(limit, "ann", NOW_S)

    statuses(limiter, limit, *(f"198.51.{number // 256}.{number % 256}" for number in range(10_000)))

    assert (len(limiter.addresses), len(limiter.users)) == (SMALL, 1)
    assert limiter.take_of_user(limit, "ann", NOW_S).wait_s > 0


def test_an_exhausted_bucket_is_not_had_new_for_requests_from_elsewhere() -> None:
    limiter, limit = a_small_limiter(), a_limit("3/hour")
    statuses(limiter, limit, *["192.0.2.1"] * 4)

    statuses(limiter, limit, *(f"198.51.{number // 256}.{number % 256}" for number in range(10_000)))

    assert statuses(limiter, limit, "192.0.2.1") == [False]


def test_ten_million_addresses_cost_what_a_full_table_costs() -> None:
    limiter, limit = RateLimiter(addresses=Quotas(SAMPLE)), a_limit("5/hour", "/api/v1/auth/sessions")
    limiter.fleet.processes = 4
    tracemalloc.start()

    try:
        for number in range(2 * SAMPLE):
            limiter.take_of_address(limit, f"2001:db8:{number >> 8:x}:{number & 255:x}::1", NOW_S)
            limiter.due.clear()
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(limiter.addresses) == SAMPLE
    assert held_bytes / SAMPLE * MAX_QUOTAS < 25_000_000


def test_what_waits_for_the_ledger_is_bounded_too() -> None:
    limiter, limit = RateLimiter(), a_limit("5/hour")

    statuses(limiter, limit, *(f"198.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(9_000)))

    assert len(limiter.due) == MAX_DUE


def test_addresses_that_were_read_are_remembered_within_bounds() -> None:
    limiter, limit = RateLimiter(), a_limit("1/hour")

    statuses(limiter, limit, *(f"2001:db8::{number:x}" for number in range(MAX_REMEMBERED + 10)))

    assert len(limiter._networks) == 10


def test_what_is_counted_is_told() -> None:
    limiter, limit = RateLimiter(), a_limit("1/hour")
    statuses(limiter, limit, "192.0.2.1", "192.0.2.1", "192.0.2.2")

    told = {family.name: family.samples[0].value for family in limiter.families()}

    assert told == {
        "portico_rate_limit_buckets": 2,
        "portico_rate_limited_total": 1,
        "portico_rate_limit_alone": 0,
    }
