import pytest

from app.edge.middleware.limits import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES, CheckHead
from tests.unit.edge.parts import a_record, outcome


@pytest.mark.parametrize(
    "host",
    [
        "gate.test",
        "gate.test:8000",
        "127.0.0.1",
        "[::1]",
        "[2001:db8::1]:443",
        "[::ffff:127.0.0.1]",
        "a:65535",
        "a:0",
        "localhost",
        "a_b.c-d~e",
        "GATE.TEST.",
    ],
)
def test_a_host_is_a_name_or_an_address_and_a_port(host: str) -> None:
    assert outcome(CheckHead(), a_record("GET", "/", ("Host", host))) == "goes on"


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "a,b",
        "a/b",
        "a@b",
        "a?b",
        "a#b",
        "a\\b",
        "a:b",
        "a:",
        "a:123456",
        "a:65536",
        "a:99999",
        "..",
        ".a",
        "a..b",
        "[::1",
        "[]",
        "[:::::]",
        "[....]",
        "[127.0.0.1]",
        "[1::2::3]",
        "[fe80::1%25eth0]",
        "::1",
        "[g::1]",
        "\u00e9",
        "a\tb",
        "http://a",
    ],
)
def test_another_host_is_refused(host: str) -> None:
    assert outcome(CheckHead(), a_record("GET", "/", ("Host", host))) == "head-malformed"


def test_two_hosts_are_refused_even_when_alike() -> None:
    assert outcome(CheckHead(), a_record("GET", "/", ("Host", "a"), ("Host", "a"))) == "head-malformed"


def test_no_host_is_refused() -> None:
    record = a_record()
    record.headers.clear()

    assert outcome(CheckHead(), record) == "head-malformed"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/" + "a" * (MAX_TARGET_BYTES - 2), "goes on"),
        ("/" + "a" * (MAX_TARGET_BYTES - 1), "target-too-long"),
        ("/?" + "a" * (MAX_TARGET_BYTES - 2), "goes on"),
        ("/?" + "a" * (MAX_TARGET_BYTES - 1), "target-too-long"),
    ],
    ids=["path at the limit", "path beyond", "query at the limit", "query beyond"],
)
def test_a_target_has_a_limit(target: str, found: str) -> None:
    assert outcome(CheckHead(), a_record("GET", target)) == found


@pytest.mark.parametrize(("count", "found"), [(MAX_FIELDS - 1, "goes on"), (MAX_FIELDS, "head-too-large")])
def test_a_head_has_a_limit_of_fields(count: int, found: str) -> None:
    fields = [("x-a", "1")] * count

    assert outcome(CheckHead(), a_record("GET", "/", *fields)) == found


@pytest.mark.parametrize(("length", "found"), [(MAX_HEAD_BYTES - 100, "goes on"), (MAX_HEAD_BYTES, "head-too-large")])
def test_a_head_has_a_limit_of_bytes(length: int, found: str) -> None:
    assert outcome(CheckHead(), a_record("GET", "/", ("x-a", "a" * length))) == found


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/a%2Fb", "goes on"),
        ("/a?b=../..%2F#", "path-not-allowed"),
        ("/a?b=%00", "goes on"),
        ("/a/../b", "path-not-allowed"),
        ("*", "path-not-allowed"),
        ("http://gate.test/a", "path-not-allowed"),
        ("gate.test:443", "path-not-allowed"),
        ("", "path-not-allowed"),
        ("/a?\u00e9", "path-not-allowed"),
    ],
)
def test_a_target_two_readers_could_read_differently_is_refused(target: str, found: str) -> None:
    assert outcome(CheckHead(), a_record("GET", target)) == found


@pytest.mark.parametrize(
    ("method", "found"), [("OPTIONS", "204"), ("GET", "path-not-allowed"), ("POST", "path-not-allowed")]
)
def test_options_of_the_whole_gateway_is_answered(method: str, found: str) -> None:
    assert outcome(CheckHead(), a_record(method, "*")) == found
