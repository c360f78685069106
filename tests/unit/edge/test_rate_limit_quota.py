import pytest

from app.edge.rate_limit import RateLimit, read_limit
from app.edge.rate_limit_quota import LEASE_S, Fleet, Quota

START_S = 1000.0


def a_limit(rate_limit: str = "60/minute", burst: int | None = None) -> RateLimit:
    limit = read_limit(rate_limit, burst, name="/x")
    assert limit is not None
    return limit


def a_quota(rate_limit: str = "60/minute", burst: int | None = None) -> Quota:
    return Quota(a_limit(rate_limit, burst), START_S)


def admitted(quota: Quota, requests: int, *, at_s: float = START_S, fleet: Fleet | None = None) -> int:
    known = fleet or Fleet()
    return sum(quota.take(at_s, known) for _ in range(requests))


class TestAlone:
    def test_as_many_as_the_bucket_holds_may_come_at_once(self) -> None:
        assert admitted(a_quota("60/minute", 7), 20) == 7

    def test_then_the_bucket_is_filled_evenly(self) -> None:
        quota = a_quota("60/minute", 7)
        admitted(quota, 7)

        later = [admitted(quota, 5, at_s=START_S + seconds) for seconds in (0.5, 1.0, 1.9, 4.0, 100.0)]

        assert later == [0, 1, 0, 3, 5]

    @pytest.mark.parametrize("rate", ["60/minute", "7/second", "100/minute", "1000/hour", "999/day"])
    def test_over_a_long_time_the_rate_is_kept_whatever_the_steps(self, rate: str) -> None:
        quota = a_quota(rate, 1)
        step_s = 0.37 / quota.limit.rate_per_s

        passed = sum(admitted(quota, 1, at_s=START_S + step * step_s) for step in range(10_000))

        assert passed == pytest.approx(3700, rel=0.11)  # a request is let in at the first step that finds one there
        assert passed <= 3700

    def test_who_was_refused_and_waits_as_told_is_let_in(self) -> None:
        quota = a_quota("7/minute", 3)
        admitted(quota, 4)
        waited_s = quota.wait_s

        assert admitted(quota, 1, at_s=START_S + waited_s - 0.01) == 0
        assert admitted(quota, 1, at_s=START_S + waited_s) == 1

    def test_a_clock_that_stands_or_is_read_late_gives_nothing_away(self) -> None:
        quota = a_quota("60/minute", 2)

        assert [admitted(quota, 1, at_s=START_S + seconds) for seconds in (0, 0.1, 0.05, 0.1, 0)] == [1, 1, 0, 0, 0]

    def test_a_lowered_limit_holds_at_once(self) -> None:
        quota = a_quota("60/minute", 100)
        admitted(quota, 1)

        quota.adopt(a_limit("60/minute", 5))

        assert admitted(quota, 100, at_s=START_S + 1) == 5


class TestAmongOthers:
    def test_who_knows_nothing_takes_its_share_of_a_full_bucket(self) -> None:
        assert admitted(a_quota("60/minute"), 100, fleet=Fleet(processes=4)) == 15

    def test_the_first_requests_are_never_refused_for_want_of_a_lease(self) -> None:
        small, large, fleet = a_quota("2/hour"), a_quota("10/hour"), Fleet(processes=8)

        assert (admitted(small, 5, fleet=fleet), admitted(large, 5, fleet=fleet)) == (2, 3)
        assert (small.is_urgent(fleet), large.is_urgent(fleet)) == (False, True)

    def test_a_trifle_needs_no_ledger(self) -> None:
        quota, fleet = a_quota("100/minute"), Fleet(processes=2)

        needs = [(quota.take(START_S, fleet), quota.needs_ledger(START_S, fleet))[1] for _ in range(6)]

        assert needs == [False] * 5 + [True]

    def test_credit_is_booked_and_what_will_be_needed_leased(self) -> None:
        quota, fleet = a_quota("60/minute"), Fleet(processes=2)
        admitted(quota, 20, fleet=fleet)

        shift_s = quota.plan(START_S, fleet)
        quota.settle(40.0, START_S)

        assert shift_s == 40  # twenty that were let in, and twenty for the time to come
        assert (quota.prepaid, quota.level, quota.unbooked) == (20, 20, 0)

    def test_a_debt_that_others_made_is_waited_for(self) -> None:
        quota, fleet = a_quota("60/minute"), Fleet(processes=2)
        admitted(quota, 10, fleet=fleet)

        quota.plan(START_S, fleet)
        quota.settle(90.0, START_S)

        assert admitted(quota, 5, fleet=fleet) == 0
        assert quota.wait_s == pytest.approx(90 - 10 - 60 + 1)  # the ten it asked for in advance go back
        assert quota.prepaid == 0

    def test_what_was_asked_for_but_not_there_is_given_back(self) -> None:
        quota, fleet = a_quota("60/minute"), Fleet(processes=2)
        admitted(quota, 10, fleet=fleet)
        quota.plan(START_S, fleet)  # ten, and ten in advance

        quota.settle(65.0, START_S)

        assert quota.prepaid == 10 - 5
        assert quota.plan(START_S, fleet) == pytest.approx(-5)

    def test_a_lease_that_is_not_used_goes_back_in_time(self) -> None:
        quota, fleet = a_quota("60/minute"), Fleet(processes=2)
        admitted(quota, 20, fleet=fleet)
        quota.plan(START_S, fleet)
        quota.settle(40.0, START_S)

        during, after = (quota.plan(START_S + seconds, fleet) for seconds in (LEASE_S / 2, LEASE_S))

        assert during is None
        assert after == pytest.approx(-20)

    def test_a_booking_that_failed_is_made_again(self) -> None:
        quota, fleet = a_quota("60/minute"), Fleet(processes=2)
        admitted(quota, 20, fleet=fleet)
        first = quota.plan(START_S, fleet)

        quota.give_up()
        admitted(quota, 1, fleet=fleet)

        assert first == 40
        assert quota.plan(START_S, fleet) == 21 + 5

    def test_what_is_let_in_while_a_booking_is_under_way_is_booked_with_the_next(self) -> None:
        quota, fleet = a_quota("60/minute"), Fleet(processes=2)
        admitted(quota, 10, fleet=fleet)
        quota.plan(START_S, fleet)
        admitted(quota, 3, fleet=fleet)

        quota.settle(23.0, START_S)

        assert (quota.unbooked, quota.level) == (3, 34)

    def test_while_the_ledger_is_away_its_share_of_the_rate_is_kept(self) -> None:
        quota, fleet = a_quota("60/minute", 16), Fleet(processes=4, is_ledger_away=True)

        seconds = [admitted(quota, 10, at_s=START_S + second, fleet=fleet) for second in range(41)]

        assert seconds[0] == 4
        assert sum(seconds[1:]) == 10

    def test_who_is_refused_while_the_ledger_is_away_is_told_the_truth(self) -> None:
        quota, fleet = a_quota("60/minute", 16), Fleet(processes=4, is_ledger_away=True)
        admitted(quota, 5, fleet=fleet)
        waited_s = quota.wait_s

        assert waited_s == pytest.approx(4, abs=1.5)
        assert admitted(quota, 1, at_s=START_S + waited_s, fleet=fleet) == 1
