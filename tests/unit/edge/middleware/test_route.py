import pytest

from app.edge.middleware.route import FindRoute
from tests.unit.edge.parts import a_live_table, a_record, outcome

TABLE = a_live_table(
    {"prefix": "/small", "max_body_bytes": 10, "strip": "/small"},
    {"prefix": "/files", "encoded_slashes": True},
    {"prefix": "/local", "local": True},
)
STAGE = FindRoute(lambda: TABLE)


def test_the_row_and_the_path_it_means_are_noted() -> None:
    record = a_record("GET", "/small/a%20b")

    STAGE(record)

    assert record.route is TABLE.registry.routes[0]
    assert record.upstream_path == b"/a%20b"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/small/a%2Fb", "path-not-allowed"),
        ("/files/a%2Fb", "goes on"),
        ("/local/a%2Fb", "path-not-allowed"),
        ("/smal%6C", "path-not-allowed"),
        ("/nowhere", "route-not-found"),
    ],
)
def test_a_target_without_a_row_is_refused(target: str, found: str) -> None:
    assert outcome(STAGE, a_record("GET", target)) == found


@pytest.mark.parametrize(
    ("length", "found"),
    [
        ("0", "goes on"),
        ("10", "goes on"),
        ("0010", "goes on"),
        ("11", "body-too-large"),
        ("9" * 19, "body-too-large"),
        ("9" * 20, "head-malformed"),
        ("0" * 5000 + "5", "head-malformed"),
        ("-1", "head-malformed"),
        ("+1", "head-malformed"),
        ("1, 1", "head-malformed"),
        (" 1", "head-malformed"),
        ("1_0", "head-malformed"),
        ("0x5", "head-malformed"),
        ("", "head-malformed"),
        ("\u00b2", "head-malformed"),
    ],
    ids=lambda value: value[:12],
)
def test_a_declared_length_is_a_number_within_the_rows_limit(length: str, found: str) -> None:
    assert outcome(STAGE, a_record("POST", "/small", ("Content-Length", length))) == found


def test_a_local_row_has_a_smaller_limit_than_a_proxied_one() -> None:
    length = str(100 * 1024**2)

    assert outcome(STAGE, a_record("POST", "/local", ("Content-Length", length))) == "body-too-large"
    assert outcome(STAGE, a_record("POST", "/files", ("Content-Length", length))) == "goes on"


def test_a_new_table_takes_over_between_two_requests() -> None:
    tables = [a_live_table({"path": "/old"}), a_live_table({"path": "/new"})]
    stage = FindRoute(lambda: tables[0])

    before = outcome(stage, a_record("GET", "/new"))
    tables.pop(0)

    assert (before, outcome(stage, a_record("GET", "/new"))) == ("route-not-found", "goes on")
