"""In whose name runs work that are not over, out of what people wrote into them."""

from collections.abc import Mapping

import pytest

from app.infra.db.engine import Database
from app.infra.durable.active_runs import PAGE_ROWS, PostgresActiveRuns
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.ids import RunId, UserId
from app.kernel.values import Json
from tests.db.runs import a_queued_run, a_running_run, set_run

ASKED = Authority(UserId("ann"), ("user", "auditor"), issued_at=12.5, token_id="t1", agents=("assistant",))
TOLD: Mapping[str, Json] = {INPUT_KEY: ASKED.as_json(), "text": "nul \0 and \ud800"}


async def read(database: Database, owners: list[str] | None = None, *, running: bool) -> list[RunId]:
    runs = PostgresActiveRuns(database.begin)
    return [run.id for run in await runs.read(owners, running=running, after=None)]


async def test_those_that_run_and_those_that_wait_are_told_apart_and_those_that_are_over_left_out(
    database: Database,
) -> None:
    running = await a_running_run(database)
    waiting, queued, over = [await a_queued_run(database) for _ in range(3)]
    await set_run(database, waiting, "state = 'waiting'")
    await set_run(database, over, "state = 'completed'")

    assert await read(database, running=True) == [running]
    assert await read(database, running=False) == [waiting, queued]


async def test_an_owner_has_his_own(database: Database) -> None:
    mine = await a_running_run(database, owner="ann")
    await a_running_run(database, owner="ben")

    assert await read(database, ["ann"], running=True) == [mine]
    assert await read(database, ["eve"], running=True) == []


async def test_pages_follow_one_another(database: Database) -> None:
    made = [await a_queued_run(database) for _ in range(PAGE_ROWS + 1)]
    runs = PostgresActiveRuns(database.begin)

    first = [run.id for run in await runs.read(None, running=False, after=None)]
    rest = [run.id for run in await runs.read(None, running=False, after=first[-1])]
    end = await runs.read(None, running=False, after=rest[-1])

    assert (first, rest, end) == (made[:PAGE_ROWS], made[PAGE_ROWS:], [])


async def test_in_whose_name_is_read_whatever_else_was_written(database: Database) -> None:
    await a_running_run(database, told=TOLD)

    (run,) = await PostgresActiveRuns(database.begin).read(None, running=True, after=None)

    assert run.authority == ASKED
    assert (run.asker.user_id, run.asker.issued_at, run.asker.token_id) == ("ann", 12.5, "t1")


@pytest.mark.parametrize("told", [{}, {INPUT_KEY: None}, {INPUT_KEY: {"sub": 7}}], ids=repr)
async def test_who_says_nothing_to_be_understood_works_for_its_owner_since_it_was_made(
    database: Database, told: Mapping[str, Json]
) -> None:
    await a_running_run(database, owner="ben", told=told)

    (run,) = await PostgresActiveRuns(database.begin).read(None, running=True, after=None)

    assert run.authority is None
    assert (run.asker.user_id, run.asker.issued_at, run.asker.token_id) == ("ben", run.created_at.timestamp(), None)
