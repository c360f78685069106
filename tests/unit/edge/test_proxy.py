import pytest

from app.edge.faults import HeadMalformed
from app.edge.proxy import BodyFraming, fault_of, head_rest, may_retry, request_head
from app.edge.record import Record
from app.edge.upstream_failures import (
    ConnectFailed,
    ConnectTimedOut,
    Phase,
    PoolExhausted,
    UpstreamBroken,
    UpstreamFailure,
    UpstreamTimedOut,
)
from tests.builders import a_principal
from tests.unit.edge.parts import a_record, a_route

SESSION = (b"pg_access_token", b"pg_refresh_token")


def head_of(record: Record, *, framing: BodyFraming = BodyFraming.NONE, **row: object) -> list[str]:
    record.upstream_path = record.upstream_path or record.path
    route = a_route(**row)
    rest = head_rest(record, route, session_cookies=SESSION, framing=framing)
    head = request_head(record, b"there:9", rest)
    assert head.endswith(b"\r\n\r\n")
    return head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")


def values(head: list[str], name: str) -> list[str]:
    return [line.partition(": ")[2] for line in head[1:] if line.partition(":")[0] == name]


@pytest.mark.parametrize("target", ["/", "/a?b=c", "/%41;x=1/?a=%2F&b=../", "/a?x=?y"])
def test_the_target_is_sent_as_it_came(target: str) -> None:
    assert head_of(a_record("PUT", target))[0] == f"PUT {target} HTTP/1.1"


def test_the_upstream_is_told_its_own_host_and_the_clients_beside() -> None:
    head = head_of(a_record("GET", "/", ("Host", "gate.test:8000"), scheme="https"))

    assert values(head, "host") == ["there:9"]
    assert values(head, "x-forwarded-host") == ["gate.test:8000"]
    assert values(head, "x-forwarded-proto") == ["https"]
    assert values(head, "x-forwarded-for") == ["203.0.113.7"]


SPOOFED = (
    ("X-Forwarded-For", "1.1.1.1"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "front.test"),
    ("X-Forwarded-Port", "443"),
    ("X-Request-Id", "a-request-of-mine"),
)


def test_a_stranger_is_not_believed_about_the_client() -> None:
    record = a_record("GET", "/", *SPOOFED)

    head = head_of(record)

    assert values(head, "x-forwarded-for") == ["203.0.113.7"]
    assert values(head, "x-forwarded-proto") == ["http"]
    assert values(head, "x-forwarded-host") == ["gate.test"]
    assert values(head, "x-forwarded-port") == []
    assert values(head, "x-request-id") == [record.id]


def test_what_a_trusted_proxy_says_is_appended_to() -> None:
    head = head_of(a_record("GET", "/", *SPOOFED, peer="10.0.0.2", trusted=True))

    assert values(head, "x-forwarded-for") == ["1.1.1.1, 10.0.0.1, 10.0.0.2"]
    assert values(head, "x-forwarded-proto") == ["https"]
    assert values(head, "x-forwarded-host") == ["front.test"]
    assert values(head, "x-forwarded-port") == ["443"]


@pytest.mark.parametrize("is_trusted", [True, False])
def test_the_trace_is_sent_as_the_record_has_it_whatever_stood_in_the_head(*, is_trusted: bool) -> None:
    record = a_record("GET", "/", ("traceparent", "00-1"), ("tracestate", "theirs=1"), trusted=is_trusted)
    record.trace_id, record.span_id, record.trace_flags = "ab" * 16, 10, 0

    bare = head_of(record)
    record.tracestate = b"ours=1"
    full = head_of(record)

    assert values(bare, "traceparent") == [f"00-{'ab' * 16}-000000000000000a-00"]
    assert values(bare, "tracestate") == []
    assert values(full, "tracestate") == ["ours=1"]


def test_the_peer_of_a_unix_socket_has_a_name() -> None:
    assert values(head_of(a_record(peer="", trusted=True)), "x-forwarded-for") == ["unknown"]


IDENTITIES = (
    ("X-User-Id", "1"),
    ("x_user_id", "1"),
    ("X-User_Role", "admin"),
    ("X-USER-ROLE", "admin"),
    ("X.User.Id", "1"),
    ("X-User-Groups", "ADMIN"),
    ("Connection", "X-User-Id, X-User-Role, X-Request-Id"),
)


def test_nobody_is_nobody_whatever_the_client_says() -> None:
    head = head_of(a_record("GET", "/", *IDENTITIES))

    assert [line for line in head if "user" in line.lower()] == []


def test_a_principal_is_who_the_token_says() -> None:
    record = a_record("GET", "/", *IDENTITIES)
    record.principal = a_principal(user_id="7", role="manager")

    head = head_of(record)

    assert [line for line in head if "user" in line.lower()] == ["x-user-id: 7", "x-user-role: manager"]
    assert values(head, "x-request-id") == [record.id]


@pytest.mark.parametrize("forward_token", [False, True])
def test_the_token_is_forwarded_where_the_row_says_so(*, forward_token: bool) -> None:
    record = a_record("GET", "/", ("Authorization", "Bearer the-clients-own"), ("Authorization", "Basic x"))
    record.principal = a_principal()

    head = head_of(record, forward_token=forward_token)

    assert values(head, "authorization") == (["Bearer token-of-1"] if forward_token else [])


def test_without_a_principal_no_token_is_forwarded() -> None:
    record = a_record("GET", "/", ("Authorization", "Bearer broken"), ("Cookie", "pg_access_token=broken; a=1"))

    head = head_of(record, access="PUBLIC", forward_token=True)

    assert values(head, "authorization") == []
    assert values(head, "cookie") == ["a=1"]


@pytest.mark.parametrize(
    ("forwarded", "cookie"),
    [
        ([], ["a=1; b=2"]),
        (["pg_refresh_token"], ["a=1; pg_refresh_token=r; b=2"]),
        (["pg_refresh_token", "pg_access_token"], ["a=1; pg_refresh_token=r; pg_access_token=t; b=2"]),
    ],
)
def test_session_cookies_leave_only_where_the_row_says_so(forwarded: list[str], cookie: list[str]) -> None:
    record = a_record("GET", "/", ("Cookie", "a=1; pg_refresh_token=r; pg_access_token=t"), ("Cookie", "b=2"))

    assert values(head_of(record, forward_cookies=forwarded), "cookie") == cookie


@pytest.mark.parametrize(
    ("framing", "line"),
    [
        (BodyFraming.NONE, []),
        (BodyFraming.LENGTH, ["content-length: 5"]),
        (BodyFraming.CHUNKED, ["transfer-encoding: chunked"]),
    ],
)
def test_the_body_is_framed_by_us(framing: BodyFraming, line: list[str]) -> None:
    record = a_record(
        "POST", "/", ("Content-Length", "5"), ("Transfer-Encoding", "gzip, chunked"), ("Content-Length", "6")
    )

    head = head_of(record, framing=framing)

    assert [one for one in head if one.startswith(("content-length", "transfer-encoding"))] == line


@pytest.mark.parametrize("value", ["a\r\nx-user-id: 1", "a\nb", "a\rb", "a\0b", "\r\n\r\nGET /admin HTTP/1.1"])
@pytest.mark.parametrize("name", ["x-note", "cookie", "host"])
def test_no_field_frames_what_we_send(name: str, value: str) -> None:
    with pytest.raises(HeadMalformed):
        head_of(a_record("GET", "/", (name, value)))


def test_fields_keep_their_order_and_their_duplicates() -> None:
    record = a_record("GET", "/", ("Accept", "a"), ("X-B", "1"), ("Accept", "b"), ("X-A", "2"))

    head = head_of(record)

    assert [line for line in head if line.startswith(("accept", "x-a", "x-b"))] == [
        "accept: a",
        "x-b: 1",
        "accept: b",
        "x-a: 2",
    ]


# ---- failures


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (ConnectFailed("refused", phase=Phase.CONNECT), "upstream-refused"),
        (ConnectTimedOut("slow", phase=Phase.CONNECT), "upstream-timeout"),
        (UpstreamTimedOut("slow", phase=Phase.HEAD), "upstream-timeout"),
        (UpstreamBroken("cut", phase=Phase.BODY), "upstream-broken"),
        (PoolExhausted("full", phase=Phase.CONNECT), "upstream-unavailable"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_failure_becomes_a_fault_of_its_own(failure: UpstreamFailure, status: str) -> None:
    fault = fault_of(failure, "there")

    assert fault.type == status
    assert fault.evidence["upstream"] == "there"
    assert str(failure) not in fault.detail


@pytest.mark.parametrize(
    ("method", "failure", "is_body_started", "may"),
    [
        (b"GET", UpstreamBroken("x", phase=Phase.SEND), False, True),
        (b"POST", UpstreamBroken("x", phase=Phase.SEND), False, True),
        (b"GET", UpstreamBroken("x", phase=Phase.HEAD, sent=True), False, True),
        (b"DELETE", UpstreamBroken("x", phase=Phase.HEAD, sent=True), False, True),
        (b"POST", UpstreamBroken("x", phase=Phase.HEAD, sent=True), False, False),
        (b"PATCH", UpstreamBroken("x", phase=Phase.HEAD, sent=True), False, False),
        (b"PUT", UpstreamBroken("x", phase=Phase.SEND), True, False),
        (b"GET", UpstreamBroken("x", phase=Phase.BODY, sent=True, answered=True), False, False),
        (b"GET", ConnectFailed("x", phase=Phase.CONNECT), False, False),
        (b"GET", UpstreamTimedOut("x", phase=Phase.HEAD, sent=True), False, False),
        (b"GET", PoolExhausted("x", phase=Phase.WAIT), False, False),
    ],
)
def test_only_what_can_do_no_harm_is_tried_again(
    method: bytes,
    failure: UpstreamFailure,
    *,
    is_body_started: bool,
    may: bool,
) -> None:
    assert may_retry(method, failure, is_body_started=is_body_started) is may


@pytest.mark.parametrize(
    ("method", "failure", "may"),
    [
        (b"GET", UpstreamBroken("x", phase=Phase.HEAD, sent=True), True),
        (b"POST", UpstreamBroken("x", phase=Phase.HEAD, sent=True), False),
        (b"POST", ConnectFailed("x", phase=Phase.CONNECT), True),
        (b"POST", ConnectTimedOut("x", phase=Phase.CONNECT), True),
        (b"GET", UpstreamTimedOut("x", phase=Phase.HEAD, sent=True), True),
        (b"POST", UpstreamTimedOut("x", phase=Phase.HEAD, sent=True), False),
        (b"GET", UpstreamTimedOut("x", phase=Phase.BODY, sent=True, answered=True), False),
        (b"GET", PoolExhausted("x", phase=Phase.WAIT), False),
    ],
)
def test_another_endpoint_may_be_asked_what_one_did_not_take(
    method: bytes, failure: UpstreamFailure, *, may: bool
) -> None:
    assert may_retry(method, failure, is_body_started=False, has_other=True) is may


def test_a_body_that_was_begun_stays_where_it_is() -> None:
    failure = ConnectFailed("x", phase=Phase.CONNECT)

    assert not may_retry(b"PUT", failure, is_body_started=True, has_other=True)
