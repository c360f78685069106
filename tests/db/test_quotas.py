"""Three processes' limiters over one real database, all in one loop: what they let in together."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import text
from structlog.testing import capture_logs

from app.edge.rate_limit import RateLimit, read_limit
from app.edge.rate_limit_booking import Bookkeeper
from app.edge.rate_limit_counts import RateLimiter
from app.edge.rate_limit_quota import LEASE_S
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.db.quotas import PostgresQuotaLedger
from app.kernel.clock import SystemClock

COUNT = 3
PATIENCE_S = 30


def a_limit(rate_limit: str, burst: int | None = None) -> RateLimit:
    limit = read_limit(rate_limit, burst, name="/x")
    assert limit is not None
    return limit


@dataclass(slots=True)
class Processes:
    """Each counts for itself; only the database is shared."""

    database: Database
    limit: RateLimit
    keepers: list[Bookkeeper] = field(init=False)
    admitted: int = 0
    began_s: float = 0.0

    def __post_init__(self) -> None:
        ledger = PostgresQuotaLedger(self.database.begin)
        self.keepers = [Bookkeeper(RateLimiter(), ledger, SystemClock(), siblings=COUNT) for _ in range(COUNT)]
        self.began_s = time.monotonic()

    def send(self, process: int) -> bool:
        quota = self.keepers[process].limiter.take_of_user(self.limit, "ann", time.monotonic())
        self.admitted += quota.wait_s == 0
        return quota.wait_s == 0

    @property
    def allowed(self) -> float:
        """What one bucket would have let in until now, and a lease more."""
        return self.limit.burst + self.limit.rate_per_s * (time.monotonic() - self.began_s + LEASE_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(loop()) for keeper in self.keepers for loop in (keeper.book, keeper.attend)]
            yield
            for loop in loops:
                loop.cancel()

    async def flood(self, seconds: float, *targets: int) -> None:
        """Send to each of the targets in turn, several hundred times a second."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for process in targets:
                self.send(process)
            await asyncio.sleep(0.003)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - a fact of the database, which sets no event
            await asyncio.sleep(0.02)


async def test_a_flood_at_all_processes_gets_one_limit(database: Database) -> None:
    processes = Processes(database, a_limit("600/minute", 60))

    async with processes.running():
        await processes.flood(2.5, 0, 1, 2)

    # what each may give out before it has heard of the others is a third of the bucket
    assert processes.allowed * 0.8 < processes.admitted < processes.allowed + 60 * 2 / 3


async def test_a_caller_that_keeps_to_one_process_gets_the_whole_bucket(database: Database) -> None:
    processes = Processes(database, a_limit("60/hour"))

    async with processes.running():
        answers = []
        for _ in range(80):
            answers.append(processes.send(0))
            await asyncio.sleep(0.01)

    assert answers.index(False) >= 58
    assert 60 <= processes.admitted <= 61


async def test_who_exhausted_its_limit_in_one_process_gets_no_second_one_elsewhere(database: Database) -> None:
    processes = Processes(database, a_limit("60/hour"))

    async with processes.running():
        await processes.flood(1.0, 0)
        at_the_first = processes.admitted
        await processes.flood(1.0, 1)
        await processes.flood(1.0, 2)
        await processes.flood(0.5, 0, 1, 2)

    assert 60 <= at_the_first <= 61
    assert processes.admitted <= 60 + 60 * 2 / 3


async def test_processes_that_leave_are_not_counted_any_more(database: Database) -> None:
    processes = Processes(database, a_limit("5/hour"))

    async def are_known() -> bool:
        return await present(database) == COUNT

    async with processes.running():
        await processes.flood(0.1, 0, 1, 2)
        await _until(are_known)

    assert await present(database) == 0


async def test_a_database_that_is_away_stops_nobody(database: Database) -> None:
    nowhere = Database(DatabaseOptions(dsn="postgresql+asyncpg://nobody@127.0.0.1:9/none"))
    processes = Processes(nowhere, a_limit("60/hour"))

    with capture_logs() as events:
        async with processes.running():
            await processes.flood(1.0, 0, 1, 2)
    await nowhere.aclose()

    assert processes.admitted == 60
    assert [event["event"] for event in events].count("quotas.ledger_lost") == COUNT


async def present(database: Database) -> int:
    async with database.engine.connect() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM quota_processes")) or 0)
