import asyncio
import base64
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from app.edge import keys as module
from app.edge.keys import JwksKeys, KeyUnusable, PemKeys, read_jwks, read_pem
from tests.builders import public_pem, signing_key
from tests.unit.edge.parts import StillClock

SMALL = rsa.generate_private_key(65537, 1024)
OTHER = rsa.generate_private_key(65537, 2048)


def number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8)).rstrip(b"=").decode()


def jwk(kid: str | None = "a", key: rsa.RSAPrivateKey | None = None, **fields: object) -> dict[str, object]:
    numbers = (key or signing_key()).public_key().public_numbers()
    named: dict[str, object] = {} if kid is None else {"kid": kid}
    return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **named, **fields}


def jwks(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


def pem_of(key: PublicKeyTypes) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


# ---- one PEM


def test_a_pem_checks_every_token() -> None:
    keys = PemKeys.read(public_pem()).current()

    assert keys.find(None) == keys.find("any") == signing_key().public_key()


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        ("", "not a public key in PEM form"),
        ("nonsense", "not a public key in PEM form"),
        (public_pem()[:-40], "not a public key in PEM form"),
        (public_pem().replace("PUBLIC", "RSA PRIVATE"), "not a public key in PEM form"),
        (pem_of(ec.generate_private_key(ec.SECP256R1()).public_key()), "not an RSA key"),
        (pem_of(ed25519.Ed25519PrivateKey.generate().public_key()), "not an RSA key"),
        (pem_of(SMALL.public_key()), "has 1024 bits"),
        (
            signing_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "not a public key in PEM form",
        ),
    ],
    ids=["empty", "word", "cut", "mislabelled", "EC", "Ed25519", "1024 bits", "private"],
)
def test_what_rs256_cannot_be_checked_with_is_refused(pem: str, words: str) -> None:
    with pytest.raises(KeyUnusable, match=words):
        read_pem(pem)


# ---- a JWKS document


@pytest.mark.parametrize(
    "entry",
    [
        jwk(),
        jwk(alg="RS256", use="sig"),
        jwk(key_ops=["verify"]),
        jwk(key_ops=["sign", "verify"]),
        jwk(x5c=["ignored"], extra=1),
    ],
    ids=["plain", "alg and use", "verify", "sign and verify", "more fields"],
)
def test_a_key_for_rs256_is_taken(entry: dict[str, object]) -> None:
    assert read_jwks(jwks(entry)) == {"a": signing_key().public_key()}


UNUSABLE: dict[str, object] = {
    "use enc": jwk(use="enc"),
    "use null": jwk(use=None),
    "key_ops without verify": jwk(key_ops=["sign"]),
    "key_ops encrypt": jwk(key_ops=["encrypt", "wrapKey"]),
    "key_ops empty": jwk(key_ops=[]),
    "key_ops a text": jwk(key_ops="verify"),
    "alg RS512": jwk(alg="RS512"),
    "alg PS256": jwk(alg="PS256"),
    "alg RSA-OAEP": jwk(alg="RSA-OAEP"),
    "alg none": jwk(alg="none"),
    "1024 bits": jwk(key=SMALL),
    "no modulus": {"kty": "RSA", "kid": "a", "e": "AQAB"},
    "modulus a number": jwk(n=5),
    "modulus null": jwk(n=None),
    "modulus nonsense": jwk(n="!!!"),
    "modulus huge": jwk(n=number(2**20000 + 1)),
    "exponent one": jwk(e=number(1)),
    "exponent even": jwk(e=number(4)),
    "exponent empty": jwk(e=""),
    "EC": {"kty": "EC", "kid": "a", "crv": "P-256", "x": "AA", "y": "AA"},
    "symmetric": {"kty": "oct", "kid": "a", "k": "c2VjcmV0"},
    "no kty": {"kid": "a"},
    "a list": [],
    "a text": "key",
    "null": None,
}


@pytest.mark.parametrize("entry", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_key_for_anything_else_is_passed_over(entry: object) -> None:
    with pytest.raises(KeyUnusable, match="holds no key"):
        read_jwks(jwks(entry))

    assert list(read_jwks(jwks(entry, jwk("good")))) == ["good"]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"keys":null}',
        b'{"keys":{}}',
        b'{"keys":"a"}',
        b'{"keys":[]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"keys":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
    ids=[
        "empty",
        "HTML",
        "null",
        "list",
        "object",
        "keys null",
        "keys object",
        "keys text",
        "none",
        "binary",
        "deep",
        "deep keys",
    ],
)
def test_a_document_that_is_no_jwks_is_refused(document: bytes) -> None:
    with pytest.raises(KeyUnusable):
        read_jwks(document)


def test_no_more_than_a_hundred_keys_are_read() -> None:
    document = jwks(*[jwk(str(number)) for number in range(module.MAX_KEYS + 1)])

    assert len(read_jwks(document)) == module.MAX_KEYS


def test_of_two_keys_of_the_same_name_the_last_counts() -> None:
    assert read_jwks(jwks(jwk("a", OTHER), jwk("a"))) == {"a": signing_key().public_key()}


# ---- fetching


class Endpoint:
    """Serves what it is told to, and counts."""

    def __init__(self) -> None:
        self.answer: Callable[[], bytes] = lambda: jwks(jwk())
        self.asked = 0

    async def fetch(self, url: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        return self.answer()


def some_jwks() -> tuple[JwksKeys, Endpoint, StillClock]:
    endpoint, clock = Endpoint(), StillClock()
    return JwksKeys("http://auth.test/jwks", endpoint.fetch, clock), endpoint, clock


async def test_many_who_ask_at_once_share_one_fetch() -> None:
    keys, endpoint, _ = some_jwks()

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(keys.refresh())

    assert endpoint.asked == 1
    assert keys.current().find("a") is not None


async def test_the_endpoint_is_asked_at_most_every_ten_seconds() -> None:
    keys, endpoint, clock = some_jwks()

    for seconds in (0, 5, 4.9, 0.1, 9.9, 0.1):
        clock.now_s += seconds
        await keys.refresh()

    assert endpoint.asked == 3


async def test_a_key_that_is_gone_from_the_document_is_gone_after_the_refresh() -> None:
    keys, endpoint, clock = some_jwks()
    await keys.refresh()

    endpoint.answer = lambda: jwks(jwk("b", OTHER))
    clock.now_s += 10
    await keys.refresh()

    assert keys.current().find("a") is None
    assert keys.current().find("b") == OTHER.public_key()


async def test_a_key_that_changes_under_its_name_is_a_new_set() -> None:
    keys, endpoint, clock = some_jwks()
    await keys.refresh()
    before = keys.current()

    clock.now_s += 10
    await keys.refresh()
    assert keys.current() is before

    endpoint.answer = lambda: jwks(jwk("a", OTHER))
    clock.now_s += 10
    await keys.refresh()
    assert keys.current() is not before


def refused() -> bytes:
    raise ConnectionRefusedError("refused")


@pytest.mark.parametrize(
    "answer",
    [refused, lambda: b"<html>", jwks, lambda: jwks(jwk(use="enc"))],
    ids=["down", "HTML", "none", "enc"],
)
async def test_the_last_good_keys_stay_while_no_others_can_be_had(answer: Callable[[], bytes]) -> None:
    keys, endpoint, clock = some_jwks()
    await keys.refresh()
    before = keys.current()

    endpoint.answer = answer
    clock.now_s += 10
    await keys.refresh()

    assert keys.current() is before
    assert keys.detail.startswith("kept the last good keys: ")


async def test_an_endpoint_that_dribbles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_S", 0.01)

    async def never(url: str) -> bytes:
        await asyncio.Event().wait()
        return b""

    keys = JwksKeys("http://auth.test/jwks", never, StillClock())

    await asyncio.wait_for(keys.refresh(), timeout=10)

    assert keys.current().is_empty
    assert "no answer" in keys.detail
