"""The key endpoint hangs, and the key is rotated, under load: nobody is kept out who belongs in, nor the other way."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from app.edge.keys import REFETCH_S
from tests.soak.load import a_request, load_on
from tests.soak.stand import Origin, a_gateway, an_origin, port_of, proxying, say, stay_for

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
WORKERS = 2
PER_S = 1000
LIFE_S = "310000000"


def signed(key: RSAPrivateKey, kid: str, count: int = 100) -> list[str]:
    """Sign tokens of as many users."""
    claims = [{"sub": str(sub), "role": "user", "exp": 2**33 // 2, "iat": 0} for sub in range(count)]
    return [jwt.encode(one, key, algorithm="RS256", headers={"kid": kid}) for one in claims]


def publish(file: Path, **keys: RSAPrivateKey) -> None:
    rows = [
        {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", "alg": "RS256"}
        for kid, key in keys.items()
    ]
    fresh = file.with_suffix(".fresh")
    fresh.write_text(json.dumps({"keys": rows}))
    fresh.replace(file)


@pytest.fixture
def keys() -> Iterator[Origin]:
    with an_origin("keys") as keys:
        yield keys


def a_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def asking(tokens: list[str]) -> list[str]:
    return [a_request("/echo", token=token) for token in tokens]


def test_a_key_endpoint_that_hangs_keeps_nobody_out_and_lets_nobody_in(
    home: Path, migrated_dsn: str, origin: Origin, keys: Origin
) -> None:
    file, key, stranger = home / "keys.json", a_key(), a_key()
    publish(file, known=key)
    key_file = f"{keys.url}/file{file}"
    with (
        a_gateway(
            home,
            proxying(origin),
            workers=WORKERS,
            POSTGRES_DSN=migrated_dsn,
            JWT_JWKS_URL=key_file,
            JWT_MAX_LIFE_S=LIFE_S,
        ) as gateway,
        load_on(port_of(gateway), *asking(signed(key, "known")), connections=64, per_s=PER_S) as known,
    ):
        stay_for(REFETCH_S + 1)
        known.begin("hung")
        keys.process.send_signal(signal.SIGSTOP)
        with load_on(port_of(gateway), *asking(signed(stranger, "unknown")), connections=64, per_s=50) as unknown:
            stay_for(15)
        with load_on(port_of(gateway), *asking(signed(stranger, "known")), connections=8, per_s=50) as forged:
            stay_for(2)
        keys.process.send_signal(signal.SIGCONT)

    say(known.told("the key endpoint hung; tokens of a known key"))
    say(unknown.told("tokens of unknown keys"))
    say(forged.told("tokens that claim a known key"))
    assert known.failed == {}
    assert set(unknown.outcomes) == set(forged.outcomes) == {"401 token-invalid"}
    assert known.phases["hung"].p99_ms < 500


def test_a_key_is_rotated_and_only_the_tokens_of_the_old_one_fail(
    home: Path, migrated_dsn: str, origin: Origin, keys: Origin
) -> None:
    file, old, new, stranger = home / "keys.json", a_key(), a_key(), a_key()
    publish(file, old=old)
    key_file = f"{keys.url}/file{file}"
    with (
        a_gateway(
            home,
            proxying(origin),
            workers=WORKERS,
            POSTGRES_DSN=migrated_dsn,
            JWT_JWKS_URL=key_file,
            JWT_MAX_LIFE_S=LIFE_S,
        ) as gateway,
        load_on(port_of(gateway), *asking(signed(old, "old")), connections=64, per_s=500) as of_old,
    ):
        stay_for(1)
        publish(file, old=old, new=new)
        stay_for(REFETCH_S)
        with load_on(port_of(gateway), *asking(signed(new, "new")), connections=64, per_s=500) as of_new:
            stay_for(2)
            publish(file, new=new)
            stay_for(REFETCH_S)
            of_old.begin("removing")
            with load_on(port_of(gateway), *asking(signed(stranger, "x")), per_s=20, is_fresh=True) as unknown:
                gateway.awaits(lambda: len(gateway.logged("keys.changed", kids=["new"])) == WORKERS)
                of_old.begin("removed")
                of_new.begin("old one removed")
                stay_for(3)

    say(of_old.told("the key was rotated; tokens of the old key"))
    say(of_new.told("tokens of the new key"))
    assert of_old.phases["start"].failed == 0
    assert set(of_old.phases["removed"].outcomes) == {"401 token-invalid"}
    assert of_new.failed == {}
    assert set(unknown.outcomes) == {"401 token-invalid"}
