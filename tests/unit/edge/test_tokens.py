import base64
import json
from collections.abc import Mapping

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.edge import tokens
from app.edge.claims import TokenRules, principal_of
from app.edge.faults import KeysUnavailable, TokenExpired, TokenInvalid
from app.edge.keys import KeySet, KeysStale
from app.edge.tokens import TokenVerifier
from app.kernel.errors import Fault
from app.kernel.identity import Access, Principal
from tests.builders import ROLES, a_token, public_pem, signing_key
from tests.unit.edge.parts import NOW_S, Checked, StillClock

CLAIMS: Mapping[str, object] = {"sub": "7", "role": "user", "exp": NOW_S + 60}


def signed(payload: str | bytes, header: str = '{"alg":"RS256"}') -> bytes:
    """Sign any bytes at all with the right key, as a broken issuer might."""
    text = payload.encode() if isinstance(payload, str) else payload
    head, body = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header.encode(), text))
    signature = jwt.get_algorithm_by_name("RS256").sign(head + b"." + body, signing_key())
    return b".".join((head, body, base64.urlsafe_b64encode(signature).rstrip(b"=")))


def of(**claims: object) -> bytes:
    """A token of the right key whose claims are these, over the usual ones; `...` leaves one out."""
    merged = {**CLAIMS, **claims}
    return signed(json.dumps({name: value for name, value in merged.items() if value is not ...}))


def verdict(token: bytes, checked: Checked | None = None) -> str:
    try:
        return (checked or Checked()).verifier.verify(token).user_id
    except Fault as fault:
        return fault.type


def test_a_good_token_becomes_a_principal() -> None:
    token = of(role=["user", "manager"], jti="t1")

    principal = Checked().verifier.verify(token)

    assert principal == Principal(
        user_id="7",  # type: ignore[arg-type] # a UserId is a text
        role="manager",
        groups=frozenset({Access.COMMON, Access.STAFF}),
        expires_at=NOW_S + 60,
        token_id="t1",
        credential=token.decode(),
        roles=("user", "manager"),
    )


# ---- the text and the algorithm

EC_KEY = ec.generate_private_key(ec.SECP256R1())


def hmac_with_public_key(algorithm: str) -> bytes:
    """The oldest attack: the public key as the secret of a symmetric algorithm."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(CLAIMS).encode()).rstrip(b"=")
    signature = jwt.get_algorithm_by_name(algorithm)
    key = public_pem().encode()
    mac = signature.sign(head + b"." + body, key)
    return b".".join((head, body, base64.urlsafe_b64encode(mac).rstrip(b"=")))


def by_algorithm(name: str) -> bytes:
    key = EC_KEY if name == "ES256" else signing_key()
    return jwt.encode(dict(CLAIMS), key, algorithm=name).encode()


def unsigned(algorithm: str) -> bytes:
    parts = (json.dumps({"alg": algorithm}).encode(), json.dumps(CLAIMS).encode(), b"")
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


GOOD = of()
HEAD, BODY, SIGNATURE = GOOD.split(b".")
BROKEN_TEXTS = {
    "empty": b"",
    "one dot": b".",
    "two dots": b"..",
    "three dots": b"...",
    "a word": b"nonsense",
    "truncated": GOOD[:-1],
    "cut in the middle": GOOD[: len(GOOD) // 2],
    "no signature": HEAD + b"." + BODY + b".",
    "two parts": HEAD + b"." + BODY,
    "four parts": GOOD + b".AAAA",
    "dot behind": GOOD + b".",
    "dot before": b"." + GOOD,
    "space behind": GOOD + b" ",
    "space before": b" " + GOOD,
    "newline inside": HEAD + b"\n." + BODY + b"." + SIGNATURE,
    "tab behind": GOOD + b"\t",
    "twice": GOOD + b"," + GOOD,
    "padded": GOOD + b"==",
    "wrongly padded": GOOD + b"=",
    "padded head": HEAD + b"=." + BODY + b"." + SIGNATURE,
    "standard alphabet": GOOD.replace(b"-", b"+").replace(b"_", b"/") + b"+",
    "junk in the signature": HEAD + b"." + BODY + b"." + SIGNATURE[:9] + b"~~~~" + SIGNATURE[9:],
    "non-ASCII": HEAD + b".\xc3\xa9" + BODY + b"." + SIGNATURE,
    "NUL": GOOD + b"\0",
    "quoted": b'"' + GOOD + b'"',
    "another body": HEAD + b"." + base64.urlsafe_b64encode(b'{"sub":"1"}').rstrip(b"=") + b"." + SIGNATURE,
    "64 KiB": b"A" * 65536,
    "64 KiB of dots": b"." * 65536,
    "deep header": signed("{}", '{"alg":"RS256","x":' + "[" * 2400 + "]" * 2400 + "}"),
    "header is a list": signed(json.dumps(dict(CLAIMS)), '["RS256"]'),
    "header is null": signed(json.dumps(dict(CLAIMS)), "null"),
    "no alg": signed(json.dumps(dict(CLAIMS)), "{}"),
    "alg is a list": signed(json.dumps(dict(CLAIMS)), '{"alg":["RS256"]}'),
    "alg in lower case": signed(json.dumps(dict(CLAIMS)), '{"alg":"rs256"}'),
    "alg twice": signed(json.dumps(dict(CLAIMS)), '{"alg":"RS256","alg":"none"}'),
    "kid is a number": signed(json.dumps(dict(CLAIMS)), '{"alg":"RS256","kid":1}'),
    "kid is null": signed(json.dumps(dict(CLAIMS)), '{"alg":"RS256","kid":null}'),
    **{f"alg {name}": unsigned(name) for name in ("none", "None", "NONE", "nOnE", "")},
    **{f"HMAC {name}": hmac_with_public_key(name) for name in ("HS256", "HS384", "HS512")},
    **{f"alg {name}": by_algorithm(name) for name in ("RS384", "RS512", "PS256", "PS512", "ES256")},
    **{
        f"header {name}": signed(json.dumps(dict(CLAIMS)), json.dumps({"alg": "RS256", name: value}))
        for name, value in (
            ("jwk", {"kty": "RSA"}),
            ("jku", "https://evil.test/keys"),
            ("x5u", "https://evil.test/cert"),
            ("x5c", ["AAAA"]),
            ("crit", ["exp"]),
            ("crit", []),
            ("b64", False),
        )
    },
    "a stranger's key": a_token(key=rsa.generate_private_key(65537, 2048)).encode(),
    "payload is a list": signed("[]"),
    "payload is null": signed("null"),
    "payload is no JSON": signed("{"),
    "payload is no UTF-8": signed(b'{"sub":"\xff"}'),
    "payload is deep": signed("[" * 2000 + "]" * 2000),
    "payload with a long number": signed('{"sub":"7","role":"user","exp":' + "9" * 4400 + "}"),
}


@pytest.mark.parametrize("token", BROKEN_TEXTS.values(), ids=BROKEN_TEXTS.keys())
def test_a_text_that_is_no_token_of_ours_is_refused(token: bytes) -> None:
    assert verdict(token) == "token-invalid"


def test_a_double_key_in_the_payload_is_read_once() -> None:
    token = signed(f'{{"sub":"1","sub":"2","role":"user","exp":{NOW_S + 60}}}')

    assert verdict(token) == "2"


# ---- the claims


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({}, "7"),
        ({"exp": NOW_S + 0.5}, "7"),
        ({"exp": NOW_S - 9}, "7"),
        ({"exp": NOW_S - 10}, "token-expired"),
        ({"exp": NOW_S - 3600}, "token-expired"),
        ({"exp": -1}, "token-expired"),
        ({"exp": 0}, "token-expired"),
        ({"exp": -(10**400)}, "token-invalid"),
        ({"exp": 10**400}, "token-invalid"),
        ({"exp": 1e300}, "token-invalid"),
        ({"exp": float("nan")}, "token-invalid"),
        ({"exp": float("inf")}, "token-invalid"),
        ({"exp": str(NOW_S + 60)}, "token-invalid"),
        ({"exp": True}, "token-invalid"),
        ({"exp": None}, "token-invalid"),
        ({"exp": [NOW_S]}, "token-invalid"),
        ({"exp": {}}, "token-invalid"),
        ({"exp": ...}, "token-invalid"),
        ({"nbf": NOW_S + 10}, "7"),
        ({"nbf": NOW_S + 11}, "token-invalid"),
        ({"nbf": None}, "token-invalid"),
        ({"nbf": "0"}, "token-invalid"),
        ({"nbf": -(10**400)}, "token-invalid"),
        ({"nbf": False}, "token-invalid"),
        ({"iat": NOW_S + 10}, "7"),
        ({"iat": NOW_S + 11}, "token-invalid"),
        ({"iat": True}, "token-invalid"),
        ({"iat": float("-inf")}, "token-invalid"),
        ({"sub": ...}, "token-invalid"),
        ({"sub": 7}, "token-invalid"),
        ({"sub": 0}, "token-invalid"),
        ({"sub": True}, "token-invalid"),
        ({"sub": None}, "token-invalid"),
        ({"sub": ["7"]}, "token-invalid"),
        ({"sub": {"id": "7"}}, "token-invalid"),
        ({"sub": ""}, "token-invalid"),
        ({"sub": " "}, "token-invalid"),
        ({"sub": "7 "}, "token-invalid"),
        ({"sub": " 7"}, "token-invalid"),
        ({"sub": "7\u00a0"}, "token-invalid"),
        ({"sub": "x" * 256}, "token-invalid"),
        ({"sub": "x" * 255}, "x" * 255),
        ({"sub": "7\r\nX-User-Role: admin"}, "token-invalid"),
        ({"sub": "7\n"}, "token-invalid"),
        ({"sub": "7\x00"}, "token-invalid"),
        ({"sub": "7\x7f"}, "token-invalid"),
        ({"sub": "7\u2028"}, "token-invalid"),
        ({"sub": "7\u202e"}, "token-invalid"),
        ({"sub": "\ud800"}, "token-invalid"),
        ({"sub": "auth0|a b@c"}, "auth0|a b@c"),
        ({"sub": "andré"}, "andré"),
        ({"role": ...}, "token-invalid"),
        ({"role": 1}, "token-invalid"),
        ({"role": True}, "token-invalid"),
        ({"role": None}, "token-invalid"),
        ({"role": {}}, "token-invalid"),
        ({"role": []}, "token-invalid"),
        ({"role": [1]}, "token-invalid"),
        ({"role": ["admin", 1]}, "token-invalid"),
        ({"role": ["admin", None]}, "token-invalid"),
        ({"role": [["admin"]]}, "token-invalid"),
        ({"role": ""}, "token-invalid"),
        ({"role": [""]}, "token-invalid"),
        ({"role": "admin\r\nx: y"}, "token-invalid"),
        ({"role": "admin "}, "token-invalid"),
        ({"role": ["user", " admin"]}, "token-invalid"),
        ({"role": "wizard"}, "7"),
        ({"role": ["user", "wizard"]}, "7"),
        ({"jti": 5}, "7"),
        ({"iss": 5, "aud": 5}, "7"),
    ],
    ids=repr,
)
def test_a_claim_is_what_it_should_be_or_the_token_is_refused(claims: dict[str, object], outcome: str) -> None:
    assert verdict(of(**claims)) == outcome


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"iss": "us", "aud": "gate"}, "7"),
        ({"iss": "us", "aud": ["other", "gate"]}, "7"),
        ({"iss": "us"}, "token-invalid"),
        ({"aud": "gate"}, "token-invalid"),
        ({"iss": "us/", "aud": "gate"}, "token-invalid"),
        ({"iss": "US", "aud": "gate"}, "token-invalid"),
        ({"iss": ["us"], "aud": "gate"}, "token-invalid"),
        ({"iss": None, "aud": "gate"}, "token-invalid"),
        ({"iss": "us", "aud": "gateway"}, "token-invalid"),
        ({"iss": "us", "aud": ["gateway"]}, "token-invalid"),
        ({"iss": "us", "aud": []}, "token-invalid"),
        ({"iss": "us", "aud": ["gate", 1]}, "token-invalid"),
        ({"iss": "us", "aud": {"gate": 1}}, "token-invalid"),
        ({"iss": "us", "aud": None}, "token-invalid"),
    ],
    ids=repr,
)
def test_issuer_and_audience_are_checked_when_set(claims: dict[str, object], outcome: str) -> None:
    checked = Checked(rules=TokenRules(roles=ROLES, issuer="us", audience="gate"))

    assert verdict(of(**claims), checked) == outcome


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"realm_access": {"roles": ["user", "offline", "admin"]}}, "admin"),
        ({"realm_access": {"roles": "manager"}}, "manager"),
        ({"realm_access.roles": "user"}, "user"),
        ({"realm_access": {"roles": []}}, None),
        ({"realm_access": {"roles": {"admin": True}}}, None),
        ({"realm_access": ["roles"]}, None),
        ({"realm_access": "roles"}, None),
        ({}, None),
    ],
    ids=repr,
)
def test_the_role_may_stand_at_a_path(claims: dict[str, object], role: str | None) -> None:
    rules = TokenRules(roles=ROLES, role_claim="realm_access.roles")

    try:
        found = principal_of({**CLAIMS, **claims}, rules, now_s=NOW_S).role
    except TokenInvalid:
        found = None

    assert found == role


# ---- which key


def rs256(kid: str | None) -> bytes:
    return jwt.encode(dict(CLAIMS), signing_key(), algorithm="RS256", headers={"kid": kid} if kid else None).encode()


OTHER_KEY = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("kids", "kid", "outcome"),
    [
        (["a"], "a", "7"),
        (["a"], None, "7"),
        (["a", "b"], None, "stale"),
        (["a"], "b", "stale"),
        (["a"], "A", "stale"),
        ([], "a", "stale"),
        ([], None, "stale"),
    ],
)
def test_the_kid_names_the_key_and_may_be_left_out_where_there_is_one(
    kids: list[str], kid: str | None, outcome: str
) -> None:
    checked = Checked(keys=KeySet(by_id=dict.fromkeys(kids, signing_key().public_key())))

    try:
        found = verdict(rs256(kid), checked)
    except KeysStale:
        found = "stale"

    assert found == outcome


def test_with_a_pem_the_kid_is_not_compared() -> None:
    assert verdict(rs256("whatever")) == "7"


def test_another_keys_kid_does_not_help() -> None:
    keys = {"a": OTHER_KEY.public_key(), "b": signing_key().public_key()}

    assert verdict(rs256("a"), Checked(keys=KeySet(by_id=keys))) == "token-invalid"


def test_an_unknown_key_is_invalid_once_the_keys_are_fresh() -> None:
    checked = Checked(keys=KeySet(by_id={"a": signing_key().public_key()}))

    with pytest.raises(TokenInvalid):
        checked.verifier.verify(rs256("b"), are_keys_fresh=True)


def test_without_any_key_nobody_gets_in() -> None:
    with pytest.raises(KeysUnavailable) as refused:
        Checked(keys=KeySet()).verifier.verify(rs256("a"), are_keys_fresh=True)

    assert refused.value.headers == {"retry-after": "5"}


# ---- remembering


class CountingVerifier(TokenVerifier):
    """Counts the signatures that were really checked."""

    checked = 0

    def _verify_text(self, token: bytes, keys: KeySet, now_s: float, *, are_keys_fresh: bool) -> Principal:
        self.checked += 1
        return super()._verify_text(token, keys, now_s, are_keys_fresh=are_keys_fresh)


def counting(clock: StillClock | None = None) -> CountingVerifier:
    keys = Checked().keys
    return CountingVerifier(TokenRules(roles=ROLES), lambda: keys, clock or StillClock())


def test_a_token_is_verified_once() -> None:
    verifier = counting()

    first, second = (verifier.verify(GOOD) for _ in range(2))

    assert first is second
    assert verifier.checked == 1


def test_a_remembered_token_expires_on_time() -> None:
    clock = StillClock()
    verifier = counting(clock)
    verifier.verify(GOOD)

    clock.now_s = NOW_S + 69.9
    verifier.verify(GOOD)
    clock.now_s = NOW_S + 70

    for _ in range(2):
        with pytest.raises(TokenExpired):
            verifier.verify(GOOD)


def test_a_refused_token_is_not_remembered() -> None:
    verifier = counting()

    for _ in range(2):
        with pytest.raises(TokenInvalid):
            verifier.verify(BROKEN_TEXTS["a stranger's key"])

    assert verifier.checked == 2


def test_a_remembered_token_is_forgotten_with_its_key() -> None:
    checked = Checked(keys=KeySet(by_id={"a": signing_key().public_key()}))
    token = rs256("a")
    checked.verifier.verify(token)

    checked.keys = KeySet(by_id={"b": OTHER_KEY.public_key()})

    with pytest.raises(KeysStale):
        checked.verifier.verify(token)


def test_memory_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)
    verifier = counting()
    texts = [of(jti=str(number)) for number in range(5)]

    for text in texts:
        verifier.verify(text)

    assert list(verifier._remembered) == texts[2:]


def test_a_long_token_is_good_but_not_remembered() -> None:
    verifier = counting()
    long = of(note="x" * 4000)

    for _ in range(2):
        verifier.verify(long)

    assert verifier.checked == 2


def test_a_token_longer_than_any_head_field_should_be_is_refused() -> None:
    assert verdict(of(note="x" * 8000)) == "token-invalid"


def test_a_principal_does_not_print_its_token() -> None:
    principal = Checked().verifier.verify(GOOD)

    assert GOOD.decode() not in repr(principal)
