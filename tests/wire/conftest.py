"""One gateway a server and module; each test finds it at rest and must leave it so."""

from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from tests.wire.front import SERVERS, Front, running_front


@pytest.fixture(scope="session", params=["portico"])
def front_gateway(
    request: pytest.FixtureRequest, database_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    with running_front(SERVERS[request.param], tmp_path_factory.mktemp("gateway"), database_dsn) as front:
        yield front


@pytest.fixture
async def front(front_gateway: Front) -> AsyncIterator[Front]:
    await front_gateway.is_at_rest()
    front_gateway.begin()
    with capture_logs() as lines:
        front_gateway.lines = lines
        yield front_gateway
    await front_gateway.is_at_rest()
