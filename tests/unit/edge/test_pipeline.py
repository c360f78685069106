import ipaddress

import pytest

from app.edge.pipeline import EdgeOptions, build_stages, decide
from app.edge.record import Answer, Record
from app.kernel.errors import Fault
from tests.builders import a_token
from tests.unit.edge.parts import NOW_S, Checked, a_live_table, a_record

TABLE = a_live_table(
    {"prefix": "/common", "max_body_bytes": 10},
    {"prefix": "/admin", "access": "ADMIN"},
    {"prefix": "/public", "access": "PUBLIC"},
)
OPTIONS = EdgeOptions(
    trusted_proxies=[ipaddress.ip_network("10.0.0.0/8")], cors_origins=frozenset({b"https://app.test"})
)
STAGES = build_stages(lambda: TABLE, Checked().verifier, OPTIONS)
BEARER = ("Authorization", f"Bearer {a_token(sub='7', exp=NOW_S + 60, iat=NOW_S)}")
LISTED = ("Origin", "https://app.test")


def decided(record: Record) -> str | Answer | None:
    try:
        return decide(STAGES, record)
    except Fault as fault:
        return fault.type


def test_a_request_that_is_let_in_has_everything_noted() -> None:
    record = a_record("GET", "/common/x", BEARER, LISTED, ("X-Forwarded-For", "203.0.113.7"), peer="10.0.0.1")

    assert decided(record) is None
    assert record.principal is not None
    assert (record.principal.user_id, record.client, record.upstream_path) == ("7", "203.0.113.7", b"/common/x")
    assert record.allowed_origin == b"https://app.test"
    assert record.route is TABLE.registry.routes[0]


@pytest.mark.parametrize(
    ("record", "type_"),
    [
        (a_record("GET", "/nowhere/..", ("Host", "")), "head-malformed"),
        (a_record("GET", "/nowhere/.."), "path-not-allowed"),
        (a_record("GET", "/nowhere"), "route-not-found"),
        (a_record("POST", "/common", ("Content-Length", "11")), "body-too-large"),
        (a_record("GET", "/admin"), "token-missing"),
        (a_record("GET", "/admin", BEARER), "role-not-allowed"),
    ],
    ids=["head", "path", "route", "length", "token", "role"],
)
def test_the_first_stage_that_minds_decides(record: Record, type_: str) -> None:
    assert decided(record) == type_


@pytest.mark.parametrize("target", ["/x/..", "/nowhere", "/admin", "/common?\xff"])
def test_a_refusal_has_an_id_a_client_and_an_origin_already(target: str) -> None:
    record = a_record("GET", target, LISTED)
    record.id = ""

    assert isinstance(decided(record), str)
    assert len(record.id) == 32
    assert record.client == "203.0.113.7"
    assert record.allowed_origin == b"https://app.test"


def test_a_preflight_is_answered_before_anybody_asks_for_a_token() -> None:
    answer = decided(a_record("OPTIONS", "/admin/x", LISTED, ("Access-Control-Request-Method", "PUT")))

    assert isinstance(answer, Answer)
    assert answer.status == 204


def test_the_chain_may_be_run_again_over_the_same_record() -> None:
    record = a_record("POST", "/common", BEARER, ("Content-Length", "5"))

    assert decided(record) is None
    assert decided(record) is None
