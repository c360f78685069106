import pytest

from app.edge.faults import RouteMethodNotAllowed
from app.edge.middleware.cors import ApplyCors, NoteOrigin, cors_headers, preflight_method
from app.edge.middleware.route import FindRoute
from app.edge.record import Answer, Record
from tests.unit.edge.parts import a_live_table, a_record

LISTED = "https://app.test"
TABLE = a_live_table(
    {"path": "/x", "methods": ["POST", "PUT"], "access": "ADMIN"},
    {"path": "/x", "methods": ["GET"]},
    {"prefix": "/any"},
)


def noted(method: str, *fields: tuple[str, str], path: str = "/x", origins: tuple[str, ...] = (LISTED,)) -> Record:
    record = a_record(method, path, *fields)
    NoteOrigin(frozenset(origin.encode() for origin in origins))(record)
    return record


def preflight(origin: str = LISTED, asks: str = "POST", *fields: tuple[str, str], path: str = "/x") -> Record:
    return noted("OPTIONS", ("Origin", origin), ("Access-Control-Request-Method", asks), *fields, path=path)


def answered(record: Record) -> Answer | None:
    FindRoute(lambda: TABLE)(record)
    return ApplyCors(lambda: TABLE)(record)


def test_a_preflight_is_answered_from_the_rows_methods() -> None:
    answer = answered(preflight())

    assert answer is not None
    assert answer.status == 204
    assert dict(answer.headers)[b"access-control-allow-methods"] == b"GET, POST, PUT"


def test_a_row_for_every_method_allows_every_method() -> None:
    answer = answered(preflight(path="/any/thing", asks="DELETE"))

    assert answer is not None
    assert dict(answer.headers)[b"access-control-allow-methods"].count(b",") == 6


@pytest.mark.parametrize("asks", ["DELETE", "TRACE", "post", "*", ""])
def test_a_preflight_for_a_method_no_row_takes_is_refused(asks: str) -> None:
    with pytest.raises(RouteMethodNotAllowed):
        answered(preflight(asks=asks))


@pytest.mark.parametrize(
    ("asked", "is_allowed"),
    [
        ("content-type, x-custom", True),
        ("authorization", True),
        ("x" * 1024, True),
        ("x" * 1025, False),
        ("", False),
        ("a\tb", False),
        ('a"b', False),
        ("\u00e9", False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_fields_a_preflight_asks_for_are_allowed(asked: str, *, is_allowed: bool) -> None:
    answer = answered(preflight(LISTED, "POST", ("Access-Control-Request-Headers", asked)))

    assert answer is not None
    assert (dict(answer.headers).get(b"access-control-allow-headers") == asked.encode("latin-1")) is is_allowed


@pytest.mark.parametrize(
    "record",
    [
        preflight("https://evil.test"),
        preflight("null"),
        preflight("https://app.test.evil"),
        preflight("https://app.test/"),
        preflight("HTTPS://APP.TEST"),
        noted("OPTIONS", ("Access-Control-Request-Method", "POST")),
        noted("OPTIONS", ("Origin", LISTED)),
        noted("POST", ("Origin", LISTED), ("Access-Control-Request-Method", "POST")),
        noted("OPTIONS", ("Origin", LISTED), ("Access-Control-Request-Method", "POST"), origins=()),
    ],
    ids=["other", "null", "longer", "with a slash", "capitals", "no origin", "no method", "no OPTIONS", "no origins"],
)
def test_what_is_no_preflight_of_a_listed_origin_is_a_request_like_any(record: Record) -> None:
    assert preflight_method(record) is None


def test_an_unlisted_preflight_does_not_borrow_the_row_it_asks_for() -> None:
    with pytest.raises(RouteMethodNotAllowed):
        answered(preflight("https://evil.test"))


def test_every_answer_to_a_listed_origin_names_it() -> None:
    headers = dict(cors_headers(noted("GET", ("Origin", LISTED))))

    assert headers[b"access-control-allow-origin"] == LISTED.encode()
    assert headers[b"access-control-allow-credentials"] == b"true"
    assert {b"X-Request-Id", b"Idempotent-Replayed"} <= set(headers[b"access-control-expose-headers"].split(b", "))
    assert headers[b"vary"] == b"Origin"


@pytest.mark.parametrize("fields", [(), (("Origin", "https://evil.test"),), (("Origin", "null"),)])
def test_every_other_answer_says_that_it_depends_on_the_origin(fields: tuple[tuple[str, str], ...]) -> None:
    assert cors_headers(noted("GET", *fields)) == [(b"vary", b"Origin")]


def test_without_origins_nothing_is_said() -> None:
    assert cors_headers(noted("GET", ("Origin", LISTED), origins=())) == []
