import pytest

from app.edge.middleware.rate_limit import CheckRate
from app.edge.rate_limit_counts import RateLimiter
from app.edge.record import Record
from app.edge.routes import Route
from app.kernel.errors import RateLimited
from tests.builders import a_principal
from tests.unit.edge.parts import a_record, a_route, outcome

LIMITED = a_route(path="/x", rate_limit="60/minute", burst=2)
PUBLIC = a_route(path="/x", access="PUBLIC", rate_limit="60/minute", burst=2)
POLICY = b'ratelimit-policy: "default";q=60;w=60\r\n'


def at_the_door(route: Route | None, *, user_id: str | None = None, client: str = "203.0.113.7") -> Record:
    record = a_record()
    record.route, record.client = route, client
    record.principal = a_principal(user_id=user_id) if user_id else None
    return record


@pytest.mark.parametrize("route", [None, a_route(path="/x")], ids=["no row", "no limit"])
def test_where_no_limit_is_written_none_is_told(route: Route | None) -> None:
    record = at_the_door(route)

    assert CheckRate(RateLimiter())(record) is None
    assert record.limit_lines == b""


def test_what_is_left_is_noted_for_the_answer() -> None:
    stage, record = CheckRate(RateLimiter()), at_the_door(LIMITED, user_id="ann")

    assert stage(record) is None
    assert record.limit_lines == POLICY + b'ratelimit: "default";r=1;t=1\r\n'


def test_a_request_over_the_limit_is_refused_until_then() -> None:
    stage = CheckRate(RateLimiter())
    records = [at_the_door(LIMITED, user_id="ann") for _ in range(3)]
    for record in records[:2]:
        stage(record)

    with pytest.raises(RateLimited) as refused:
        stage(records[2])

    assert refused.value.headers == {"retry-after": "1"}
    assert refused.value.reason == "rate_limited"
    assert "60 requests a minute" in refused.value.detail
    assert records[2].limit_lines == POLICY + b'ratelimit: "default";r=0;t=1\r\n'


def test_the_request_that_comes_when_it_was_told_to_is_let_in() -> None:
    stage = CheckRate(RateLimiter())
    outcomes = []
    for started_s in (0.0, 0.0, 0.0, 1.0, 1.0):
        record = at_the_door(LIMITED, user_id="ann")
        record.started_s = started_s
        outcomes.append(outcome(stage, record))

    assert outcomes == ["goes on", "goes on", "rate-limited", "goes on", "rate-limited"]


@pytest.mark.parametrize(
    ("route", "callers", "outcomes"),
    [
        (LIMITED, [("ann", "192.0.2.1"), ("ann", "192.0.2.2"), ("ann", "192.0.2.3")], "++-"),
        (LIMITED, [("ann", "192.0.2.1"), ("ann", "192.0.2.1"), ("ben", "192.0.2.1")], "+++"),
        (PUBLIC, [(None, "192.0.2.1"), (None, "192.0.2.1"), (None, "192.0.2.1")], "++-"),
        (PUBLIC, [(None, "192.0.2.1"), ("ann", "192.0.2.1"), ("ben", "192.0.2.1")], "++-"),
        (PUBLIC, [("ann", "192.0.2.1"), ("ann", "192.0.2.2"), ("ann", "192.0.2.3")], "+++"),
        (PUBLIC, [(None, "2001:db8::1"), (None, "2001:db8::2"), (None, "2001:db8::3")], "++-"),
    ],
    ids=["a user everywhere", "two users of one address", "an address", "whoever it says it is", "addresses", "a /64"],
)
def test_who_is_counted(route: Route, callers: list[tuple[str | None, str]], outcomes: str) -> None:
    stage = CheckRate(RateLimiter())

    found = [outcome(stage, at_the_door(route, user_id=user_id, client=client)) for user_id, client in callers]

    assert found == ["goes on" if one == "+" else "rate-limited" for one in outcomes]
