import pytest

from app.edge.faults import OriginNotAllowed, TokenInvalid, TokenMissing
from app.edge.keys import KeySet, KeysStale
from app.edge.middleware.auth import Authenticate
from app.edge.record import Record
from tests.builders import a_token, signing_key
from tests.unit.edge.parts import NOW_S, Checked, a_record, a_route, outcome

TOKEN = a_token(sub="7", exp=NOW_S + 60, iat=NOW_S)
OTHER = a_token(sub="8", exp=NOW_S + 60, iat=NOW_S)
EXPIRED = a_token(sub="7", exp=NOW_S - 60, iat=NOW_S - 120)
LISTED = "https://app.test"

type Field = tuple[str, str]


def stage(keys: KeySet | None = None) -> Authenticate:
    checked = Checked(keys=keys) if keys is not None else Checked()
    return Authenticate(checked.verifier, b"session", frozenset({LISTED.encode()}))


def came(
    method: str, *fields: Field, access: str = "COMMON", trusted: bool = False, is_upgrade: bool = False
) -> Record:
    record = a_record(method, "/x", *fields, trusted=trusted, is_upgrade=is_upgrade)
    record.route = a_route(access=access)
    return record


def bearer(token: str, scheme: str = "Bearer") -> Field:
    return ("Authorization", f"{scheme} {token}")


def cookie(*tokens: str) -> Field:
    return ("Cookie", "; ".join(f"session={token}" for token in tokens))


CASES: dict[str, tuple[list[Field], str]] = {
    "nothing": ([], "token-missing"),
    "bearer": ([bearer(TOKEN)], "7"),
    "bearer in lower case": ([bearer(TOKEN, "bearer")], "7"),
    "bearer in capitals": ([bearer(TOKEN, "BEARER")], "7"),
    "bearer with two spaces": ([bearer(" " + TOKEN)], "7"),
    "bearer with a space behind": ([bearer(TOKEN + " ")], "7"),
    "cookie": ([cookie(TOKEN)], "7"),
    "cookie among others": ([("Cookie", f"a=1; session={TOKEN}; b=2")], "7"),
    "both alike": ([bearer(TOKEN), cookie(TOKEN)], "7"),
    "both different": ([bearer(TOKEN), cookie(OTHER)], "token-invalid"),
    "both, the cookie expired": ([bearer(TOKEN), cookie(EXPIRED)], "token-invalid"),
    "both, the cookie emptied": ([bearer(TOKEN), cookie("")], "7"),
    "two bearers": ([bearer(TOKEN), bearer(OTHER)], "token-invalid"),
    "two bearers alike": ([bearer(TOKEN), bearer(TOKEN)], "token-invalid"),
    "bearer and Basic": ([bearer(TOKEN), ("Authorization", "Basic eA==")], "token-invalid"),
    "two cookies": ([cookie(TOKEN, OTHER)], "token-invalid"),
    "two cookies alike": ([cookie(TOKEN, TOKEN)], "token-invalid"),
    "two cookie fields": ([cookie(TOKEN), cookie(OTHER)], "token-invalid"),
    "an emptied cookie before a full one": ([cookie("", TOKEN)], "token-invalid"),
    "expired": ([bearer(EXPIRED)], "token-expired"),
    "expired cookie": ([cookie(EXPIRED)], "token-expired"),
    "empty cookie": ([cookie("")], "token-missing"),
    "empty bearer": ([("Authorization", "Bearer ")], "token-invalid"),
    "bearer alone": ([("Authorization", "Bearer")], "token-invalid"),
    "empty field": ([("Authorization", "")], "token-missing"),
    "no space": ([("Authorization", f"Bearer{TOKEN}")], "token-invalid"),
    "a tab": ([("Authorization", f"Bearer\t{TOKEN}")], "token-invalid"),
    "two tokens": ([bearer(f"{TOKEN} {OTHER}")], "token-invalid"),
    "two tokens with a comma": ([bearer(f"{TOKEN}, {bearer(OTHER)[1]}")], "token-invalid"),
    "no scheme": ([("Authorization", TOKEN)], "token-missing"),
    "Basic": ([("Authorization", "Basic dXNlcjpwYXNz")], "token-missing"),
    "Basic beside a cookie": ([("Authorization", "Basic dXNlcjpwYXNz"), cookie(TOKEN)], "7"),
    "quoted": ([bearer(f'"{TOKEN}"')], "token-invalid"),
    "quoted cookie": ([cookie(f'"{TOKEN}"')], "token-invalid"),
    "non-ASCII": ([bearer("\u00e9" + TOKEN)], "token-invalid"),
    "non-ASCII cookie": ([cookie("\u00e9" + TOKEN)], "token-invalid"),
    "long": ([bearer("A" * 30_000)], "token-invalid"),
    "long cookie": ([cookie("A" * 30_000)], "token-invalid"),
    "nonsense": ([bearer("nonsense")], "token-invalid"),
    "another field": ([("X-Authorization", f"Bearer {TOKEN}"), ("X-Access-Token", TOKEN)], "token-missing"),
}


@pytest.mark.parametrize(("fields", "result"), CASES.values(), ids=CASES.keys())
def test_a_token_is_read_in_one_way_or_refused(fields: list[Field], result: str) -> None:
    record = came("GET", *fields)

    found = outcome(stage(), record)

    assert (record.principal.user_id if record.principal else found) == result


@pytest.mark.parametrize(("fields", "result"), CASES.values(), ids=CASES.keys())
def test_on_a_public_row_no_token_is_an_error_and_a_good_one_an_identity(fields: list[Field], result: str) -> None:
    record = came("GET", *fields, access="PUBLIC")

    found = outcome(stage(), record)

    assert found == "goes on"
    assert (record.principal.user_id if record.principal else None) == ("7" if result == "7" else None)


ORIGINS: dict[str, tuple[list[Field], bool]] = {
    "neither": ([], False),
    "same-origin by fetch metadata": ([("Sec-Fetch-Site", "same-origin")], True),
    "same-site": ([("Sec-Fetch-Site", "same-site")], False),
    "cross-site": ([("Sec-Fetch-Site", "cross-site")], False),
    "by the user": ([("Sec-Fetch-Site", "none")], False),
    "own origin": ([("Origin", "http://gate.test")], True),
    "own origin in capitals": ([("Origin", "HTTP://GATE.test")], True),
    "own host by another scheme": ([("Origin", "https://gate.test")], False),
    "own host, another port": ([("Origin", "http://gate.test:81")], False),
    "own host as a beginning": ([("Origin", "http://gate.test.evil")], False),
    "own host as user": ([("Origin", "http://gate.test@evil")], False),
    "another origin": ([("Origin", "http://evil.test")], False),
    "null": ([("Origin", "null")], False),
    "empty": ([("Origin", "")], False),
    "listed": ([("Origin", LISTED)], True),
    "listed, cross-site": ([("Origin", LISTED), ("Sec-Fetch-Site", "cross-site")], True),
    "listed host, other scheme": ([("Origin", "http://app.test")], False),
    "two origins": ([("Origin", LISTED), ("Origin", "http://evil.test")], False),
    "own origin but same-site": ([("Origin", "http://gate.test"), ("Sec-Fetch-Site", "same-site")], False),
    "own origin but cross-site": ([("Origin", "http://gate.test"), ("Sec-Fetch-Site", "cross-site")], False),
    "forwarded host of a stranger": ([("Origin", "http://evil.test"), ("X-Forwarded-Host", "evil.test")], False),
    "forwarded scheme of a stranger": ([("Origin", "https://gate.test"), ("X-Forwarded-Proto", "https")], False),
    "only a referer": ([("Referer", "http://gate.test/")], False),
}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(("fields", "allowed"), ORIGINS.values(), ids=ORIGINS.keys())
def test_a_cookie_that_changes_something_must_come_from_here(
    method: str, fields: list[Field], *, allowed: bool
) -> None:
    record = came(method, cookie(TOKEN), *fields)

    assert outcome(stage(), record) == ("goes on" if allowed else "origin-not-allowed")


@pytest.mark.parametrize(("fields", "allowed"), ORIGINS.values(), ids=ORIGINS.keys())
def test_a_cookie_that_opens_a_websocket_must_come_from_here(fields: list[Field], *, allowed: bool) -> None:
    record = came("GET", cookie(TOKEN), *fields, is_upgrade=True)

    assert outcome(stage(), record) == ("goes on" if allowed else "origin-not-allowed")


def subprotocols(*named: str) -> Field:
    return ("Sec-WebSocket-Protocol", ", ".join(named))


HANDSHAKES: dict[str, tuple[list[Field], str]] = {
    "a token among the subprotocols": ([subprotocols("portico.events", f"portico.bearer.{TOKEN}")], "7"),
    "alone": ([subprotocols(f"portico.bearer.{TOKEN}")], "7"),
    "in a field of its own": ([subprotocols("portico.events"), subprotocols(f"portico.bearer.{TOKEN}")], "7"),
    "the same as the cookie": ([subprotocols(f"portico.bearer.{TOKEN}"), cookie(TOKEN)], "7"),
    "another than the cookie": ([subprotocols(f"portico.bearer.{TOKEN}"), cookie(OTHER)], "token-invalid"),
    "beside a bearer": ([subprotocols(f"portico.bearer.{TOKEN}"), bearer(TOKEN)], "token-invalid"),
    "two": ([subprotocols(f"portico.bearer.{TOKEN}", f"portico.bearer.{OTHER}")], "token-invalid"),
    "expired": ([subprotocols(f"portico.bearer.{EXPIRED}")], "token-expired"),
    "empty": ([subprotocols("portico.bearer.")], "token-invalid"),
    "in capitals": ([subprotocols(f"Portico.Bearer.{TOKEN}")], "token-missing"),
    "without our name": ([subprotocols(TOKEN)], "token-missing"),
    "from a stranger's page": ([subprotocols(f"portico.bearer.{TOKEN}"), ("Origin", "http://evil.test")], "7"),
}


@pytest.mark.parametrize(("fields", "result"), HANDSHAKES.values(), ids=HANDSHAKES.keys())
def test_a_page_attaches_its_token_to_a_handshake_as_a_subprotocol(fields: list[Field], result: str) -> None:
    record = came("GET", *fields, is_upgrade=True)

    found = outcome(stage(), record)

    assert (record.principal.user_id if record.principal else found) == result


def test_a_subprotocol_of_no_handshake_is_no_token() -> None:
    assert outcome(stage(), came("GET", subprotocols(f"portico.bearer.{TOKEN}"))) == "token-missing"


@pytest.mark.parametrize(("fields", "allowed"), ORIGINS.values(), ids=ORIGINS.keys())
def test_on_a_public_row_a_cookie_from_elsewhere_is_no_error_and_no_identity(
    fields: list[Field], *, allowed: bool
) -> None:
    record = came("POST", cookie(TOKEN), *fields, access="PUBLIC")

    assert outcome(stage(), record) == "goes on"
    assert (record.principal is not None) is allowed


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_cookie_that_only_reads_may_come_from_anywhere(method: str) -> None:
    assert outcome(stage(), came(method, cookie(TOKEN), ("Sec-Fetch-Site", "cross-site"))) == "goes on"


@pytest.mark.parametrize("also", [(), (cookie(TOKEN),)], ids=["bearer", "bearer and cookie"])
def test_a_bearer_token_was_attached_on_purpose(also: tuple[Field, ...]) -> None:
    record = came("POST", bearer(TOKEN), ("Origin", "http://evil.test"), ("Sec-Fetch-Site", "cross-site"), *also)

    assert outcome(stage(), record) == "goes on"


def test_a_trusted_proxy_says_which_origin_is_ours() -> None:
    forwarded = (("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "front.test"))

    ours = came("POST", cookie(TOKEN), ("Origin", "https://front.test"), *forwarded, trusted=True)
    inner = came("POST", cookie(TOKEN), ("Origin", "http://gate.test"), *forwarded, trusted=True)

    assert outcome(stage(), ours) == "goes on"
    assert outcome(stage(), inner) == "origin-not-allowed"


@pytest.mark.parametrize("access", ["PUBLIC", "COMMON"])
def test_an_unknown_key_is_fetched_before_anything_is_said(access: str) -> None:
    other = KeySet(by_id={"a": signing_key().public_key(), "b": signing_key().public_key()})

    with pytest.raises(KeysStale):
        stage(other)(came("GET", bearer(TOKEN), access=access))


def test_without_keys_a_public_row_stays_open_and_gives_no_identity() -> None:
    record = came("GET", bearer(TOKEN), access="PUBLIC")
    record.are_keys_fresh = True

    assert outcome(stage(KeySet()), record) == "goes on"
    assert record.principal is None


@pytest.mark.parametrize("fault", [TokenMissing, TokenInvalid, OriginNotAllowed])
def test_refusals_do_not_tell_what_was_sent(fault: type[Exception]) -> None:
    fields: dict[type[Exception], list[Field]] = {
        TokenMissing: [("Authorization", "Basic secret")],
        TokenInvalid: [bearer("secret")],
        OriginNotAllowed: [cookie(TOKEN), ("Origin", "http://secret.test")],
    }

    with pytest.raises(fault) as refused:
        stage()(came("POST", *fields[fault]))

    assert "secret" not in str(refused.value)
