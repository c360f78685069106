import pytest
from structlog.testing import capture_logs

from app.edge.edge import Edge
from app.edge.keys import REFETCH_S, KeySet
from app.edge.pipeline import EdgeOptions
from app.edge.tokens import TokenVerifier
from app.kernel.errors import Fault
from tests.builders import a_principal, a_token, signing_key
from tests.unit.edge.parts import NOW_S, Checked, StillClock, a_live_table, a_record, a_route

BEARER = ("Authorization", f"Bearer {a_token(sub='7', exp=NOW_S + 60, iat=NOW_S)}")


class LateKeys:
    """Has the key from the first refresh on, or never."""

    def __init__(self, *, ever: bool) -> None:
        self.ever = ever
        self.keys = KeySet()
        self.refreshed = 0

    def current(self) -> KeySet:
        return self.keys

    async def refresh(self, *, at_most_every_s: float = REFETCH_S) -> None:
        self.refreshed += 1
        if self.ever:
            self.keys = KeySet(any_id=signing_key().public_key())


def an_edge(keys: LateKeys) -> Edge:
    clock = StillClock()
    table = a_live_table({"prefix": "/common"}, {"prefix": "/public", "access": "PUBLIC"})
    return Edge(table, keys, TokenVerifier(Checked().rules, keys.current, clock), clock, EdgeOptions())


async def test_keys_are_fetched_where_a_token_needs_them_and_only_then() -> None:
    keys = LateKeys(ever=True)
    edge = an_edge(keys)
    record = a_record("GET", "/common", BEARER)

    await edge.decide(a_record("GET", "/public"))
    assert keys.refreshed == 0

    assert await edge.decide(record) is None
    assert record.principal is not None
    assert keys.refreshed == 1


async def test_keys_that_never_come_are_asked_for_once_a_request() -> None:
    keys = LateKeys(ever=False)

    with pytest.raises(Fault) as refused:
        await an_edge(keys).decide(a_record("GET", "/common", BEARER))

    assert refused.value.type == "keys-unavailable"
    assert keys.refreshed == 1


async def test_a_new_table_takes_over_between_two_requests() -> None:
    edge = an_edge(LateKeys(ever=True))
    edge.table = a_live_table({"path": "/new", "access": "PUBLIC"})

    assert await edge.decide(a_record("GET", "/new")) is None


@pytest.mark.parametrize(
    ("status", "reason", "level"),
    [
        (200, "proxied", "info"),
        (401, "token_missing", "info"),
        (502, "upstream_refused", "warning"),
        (502, "proxied", "info"),  # the upstream's own word
        (503, "local", "info"),  # of a health endpoint
        (500, "internal", "warning"),
    ],
)
def test_a_request_leaves_one_line_that_says_everything_but_secrets(status: int, reason: str, level: str) -> None:
    record = a_record("GET", "/common/x?secret=query", BEARER, ("Cookie", "secret=cookie"))
    record.route, record.principal = a_route(prefix="/common"), a_principal(user_id="7")
    record.status, record.reason, record.client = status, reason, "203.0.113.7"
    record.evidence = {"cause": "cut"}

    with capture_logs() as lines:
        an_edge(LateKeys(ever=True)).finish(record)

    (line,) = lines
    assert (
        line.items()
        >= {
            "event": "request.answered",
            "log_level": level,
            "request_id": record.id,
            "method": "GET",
            "path": "/common/x",
            "route": "/common/*",
            "status": status,
            "reason": reason,
            "user_id": "7",
            "client": "203.0.113.7",
            "cause": "cut",
        }.items()
    )
    assert "secret" not in str(line)
    assert "token-of" not in str(line)
    assert BEARER[1] not in str(line)


async def test_who_waits_where_is_told() -> None:
    edge = an_edge(LateKeys(ever=True))
    for line in (edge.load.line, edge.upstreams["there"].line, edge.turnstile, edge.turnstile):
        line.wait(Waits())

    (family,) = edge.families()

    told = {dict(sample.labels)["line"]: sample.value for sample in family.samples}
    assert told == {"worker": 1, "upstreams": 1, "endpoints": 2}


class Waits:
    waits = False

    def be_served(self) -> None: ...
    def be_turned_away(self) -> None: ...
