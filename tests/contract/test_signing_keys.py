"""What is published is read by everybody, until it is withdrawn: asked of the fake and of PostgreSQL alike."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from app.edge.live_runs import RunSource
from app.infra.db.engine import Database
from app.infra.durable.key_ring import SigningKeys, public_key_of
from app.infra.durable.live_tokens import PostgresRunSource
from app.infra.durable.signing_keys import PostgresSigningKeys
from app.kernel.run_tokens import PublicKey
from tests.fakes.live_tokens import FakeLiveTokens

KEY = public_key_of(generate_private_key(65537, 2048))
OTHER = PublicKey("other", "AQAB", "AQAB")
HOUR_S = 3600


@dataclass(frozen=True)
class Kept:
    """A worker's side and a front door's, which know one another by what they keep only."""

    keys: SigningKeys
    source: RunSource

    async def published(self) -> set[PublicKey]:
        return set((await self.source.read()).keys)


@pytest.fixture
async def source(database: Database) -> AsyncIterator[PostgresRunSource]:
    source = PostgresRunSource(database)
    yield source
    await source.aclose()


@pytest.fixture(params=["fake", "postgres"])
def kept(request: pytest.FixtureRequest) -> Kept:
    if request.param == "fake":
        fake = FakeLiveTokens()
        return Kept(fake, fake)
    keys = PostgresSigningKeys(request.getfixturevalue("database").begin)
    return Kept(keys, request.getfixturevalue("source"))


async def test_at_first_there_is_none(kept: Kept) -> None:
    assert await kept.published() == set()


async def test_a_published_key_is_read_as_it_is(kept: Kept) -> None:
    await kept.keys.publish(KEY, life_s=HOUR_S)

    assert await kept.published() == {KEY}


async def test_several_workers_publish_side_by_side(kept: Kept) -> None:
    await kept.keys.publish(KEY, life_s=HOUR_S)
    await kept.keys.publish(OTHER, life_s=HOUR_S)

    assert await kept.published() == {KEY, OTHER}


async def test_a_withdrawn_key_is_gone_and_the_others_stay(kept: Kept) -> None:
    await kept.keys.publish(KEY, life_s=HOUR_S)
    await kept.keys.publish(OTHER, life_s=HOUR_S)

    await kept.keys.withdraw([KEY.id])
    await kept.keys.withdraw([KEY.id, "never published"])

    assert await kept.published() == {OTHER}
