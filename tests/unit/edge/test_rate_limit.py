import pytest

from app.edge.rate_limit import RateLimit, limit_flaws, read_limit
from app.edge.routes import RouteTableInvalid
from tests.unit.edge.parts import a_route


def a_limit(rate_limit: str, burst: int | None = None) -> RateLimit:
    limit = read_limit(rate_limit, burst, name="/x")
    assert limit is not None
    return limit


@pytest.mark.parametrize(
    ("written", "rate_per_s", "words", "policy"),
    [
        ("1/second", 1, "1 request a second", b'"default";q=1;w=1'),
        ("120/minute", 2, "120 requests a minute", b'"default";q=120;w=60'),
        ("7200/hour", 2, "7200 requests an hour", b'"default";q=7200;w=3600'),
        ("86400/day", 1, "86400 requests a day", b'"default";q=86400;w=86400'),
    ],
)
def test_a_rate_is_a_count_in_a_period(written: str, rate_per_s: float, words: str, policy: bytes) -> None:
    limit = a_limit(written)

    assert not list(limit_flaws(written, None))
    assert (limit.rate_per_s, limit.words, limit.policy) == (rate_per_s, words, b"ratelimit-policy: %b\r\n" % policy)


def test_a_whole_periods_requests_may_come_at_once_unless_burst_says_otherwise() -> None:
    assert (a_limit("100/minute").burst, a_limit("100/minute", 5).burst, a_limit("1/day", 30).burst) == (100, 5, 30)


@pytest.mark.parametrize(
    "written",
    ["", "100", "/minute", "0/minute", "01/minute", "-1/minute", "1.5/minute", "100/min", "100/10s", "100/Minute",
     "100 /minute", "100/minute ", "1000001/day", "99999999/day", "\u0661/day"],
)  # fmt: skip
def test_what_is_no_rate_is_refused_with_the_mend(written: str) -> None:
    [(message, mend)] = limit_flaws(written, None)

    assert message == f"rate_limit {written!r} is no rate"
    assert '"100/minute"' in mend


@pytest.mark.parametrize("burst", [0, -1, 1_000_001])
def test_a_burst_that_is_no_number_of_requests_is_refused(burst: int) -> None:
    assert [message for message, _ in limit_flaws("1/day", burst)] == [f"burst {burst} is no number of requests"]


def test_a_burst_alone_is_refused() -> None:
    assert [message for message, _ in limit_flaws(None, 5)] == ["`burst` without `rate_limit` limits nothing"]


def test_a_row_has_the_limit_that_is_written_in_it() -> None:
    limit = a_route(path="/x", rate_limit="100/minute", burst=7).limit

    assert limit is not None
    assert (limit.name, limit.burst) == ("/x", 7)
    assert a_route(path="/x").limit is None


def test_a_row_with_a_flaw_in_its_limit_is_refused_at_load() -> None:
    with pytest.raises(RouteTableInvalid, match="rate_limit '5/fortnight' is no rate"):
        a_route(path="/x", rate_limit="5/fortnight")


@pytest.mark.parametrize(
    ("left", "wait_s", "field"),
    [
        (100, 0.0, b'"default";r=100;t=0'),
        (99, 0.0, b'"default";r=99;t=1'),
        (0.9, 0.0, b'"default";r=0;t=60'),
        (-3.0, 2.4, b'"default";r=0;t=3'),
    ],
    ids=["full", "one gone", "empty", "refused"],
)
def test_the_field_tells_what_is_left_and_until_when(left: float, wait_s: float, field: bytes) -> None:
    lines = a_limit("100/minute").lines(left, wait_s)

    assert lines == b'ratelimit-policy: "default";q=100;w=60\r\nratelimit: %b\r\n' % field
