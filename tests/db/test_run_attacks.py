"""The engine with its workers as real processes: killed, frozen, kept busy. Prints what it counted."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from app.infra.db.embedded.postgres import EmbeddedPostgres
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.db.errors import StorageUnavailable
from app.infra.db.migrate import upgrade
from tests.db.embedded_harness import an_empty_home, needs_binaries, postmaster_pid, the
from tests.db.run_attack import Attack, attacked
from tests.db.run_nursery import BOUNDARIES, EFFECTS


def tell(counts: str) -> None:
    """Show what was counted; pytest does with -s, and where a test fails."""
    sys.stdout.write(f"\n{counts}\n")


async def put_in_lanes(attack: Attack, *, lanes: int, runs: int, ms: int) -> None:
    """Put runs into lanes, all lanes at once and each in order."""

    async def fill(lane: int) -> None:
        for n in range(runs // lanes):
            await attack.put("observed", {"n": n, "ms": ms}, lane=f"lane {lane}")

    await asyncio.gather(*(fill(lane) for lane in range(lanes)))


async def until_all_work(attack: Attack) -> None:
    """Put runs one by one until every worker has had one."""
    async with asyncio.timeout(60):
        while await attack.one("SELECT count(DISTINCT worker) FROM attack_observed") < len(attack.workers):
            await attack.put("observed", {"n": 0, "ms": 100})
            await asyncio.sleep(0.03)


async def kill_at_work(attack: Attack, name: str) -> None:
    """Kill a worker that has a run in hand, for which there are enough: it is frozen before it is looked at."""
    in_hand = "SELECT count(*) FROM runs WHERE state = 'running' AND worker = :name"
    async with asyncio.timeout(30):
        while True:
            attack.kill(name, signal.SIGSTOP)
            await asyncio.sleep(0.3)  # for the server to end what it was told before
            if await attack.one(in_hand, name=name):
                attack.kill(name)
                return
            attack.kill(name, signal.SIGCONT)
            await attack.put("observed", {"n": 0, "ms": 100})
            await asyncio.sleep(0.03)


OVERLAPS = """
SELECT count(*) FROM attack_observed a JOIN attack_observed b
ON a.lane = b.lane AND (a.run_id, a.epoch) < (b.run_id, b.epoch)
WHERE a.ended IS NOT NULL AND b.ended IS NOT NULL AND a.began < b.ended AND b.began < a.ended"""
# begun once, and once more for each worker that was lost with it
TOO_OFTEN = """
SELECT count(*) FROM runs JOIN (SELECT run_id, count(*) AS times FROM attack_observed GROUP BY run_id) AS seen
ON run_id = id WHERE times > crashes + 1"""
DISORDER = """
SELECT count(*) FROM (SELECT n, lag(n) OVER (PARTITION BY lane ORDER BY began) AS before
FROM attack_observed WHERE ended IS NOT NULL) AS x WHERE before > n"""
UNSETTLED = """
SELECT count(*) FROM runs LEFT JOIN (SELECT run_id, count(*) AS times FROM attack_settled GROUP BY run_id) AS settled
ON run_id = id WHERE times IS DISTINCT FROM 1 OR state <> 'completed'"""


@pytest.mark.parametrize(
    ("runs", "lanes"),
    [pytest.param(80, 8, id="80"), pytest.param(1000, 25, id="1000", marks=pytest.mark.soak)],
)
async def test_lanes_hold_over_three_workers_of_which_one_is_killed(database: Database, runs: int, lanes: int) -> None:
    async with attacked(database) as attack:
        for name in ("a", "b", "c"):
            await attack.start(name)
        await until_all_work(attack)
        async with asyncio.TaskGroup() as group:
            putting = group.create_task(put_in_lanes(attack, lanes=lanes, runs=runs, ms=10))
            await kill_at_work(attack, "a")
            await putting
        await attack.all_over(within_s=100)

        executions = await attack.one("SELECT count(*) FROM attack_observed")
        lost = await attack.one("SELECT sum(crashes) FROM runs")
        by_worker = await attack.rows("SELECT worker, count(*) FROM attack_observed GROUP BY 1 ORDER BY 1")
        tell(f"{runs} runs, {lanes} lanes: {executions} begun, {lost} by the one that was killed, {by_worker}")
        assert len(by_worker) == 3
        assert lost >= 1
        assert await attack.one(OVERLAPS) == 0
        assert await attack.one(TOO_OFTEN) == 0
        assert await attack.one(DISORDER) == 0
        assert await attack.one(UNSETTLED) == 0
        assert await attack.gaps() == 0


@needs_binaries
@pytest.mark.parametrize(
    ("kills", "runs"), [pytest.param(1, 60, id="once"), pytest.param(5, 400, id="five-times", marks=pytest.mark.soak)]
)
@pytest.mark.soak
async def test_a_server_that_is_killed_under_load_loses_nothing(kills: int, runs: int) -> None:
    with an_empty_home() as home:
        server = EmbeddedPostgres(home)
        await asyncio.to_thread(server.acquire)
        database = Database(DatabaseOptions(dsn=server.dsn))
        try:
            await upgrade(database.engine, database.options.schema)
            await kill_server_under_load(database, home, kills=kills, runs=runs)
        finally:
            await database.aclose()
            await asyncio.to_thread(server.release)


async def kill_server_under_load(database: Database, home: Path, *, kills: int, runs: int) -> None:
    async with attacked(database, lease_s=2.0) as attack:
        for name in ("a", "b", "c"):
            await attack.start(name)

        async def put(number: int) -> None:
            """Put a run until it is known to be there, as a client with a key does."""
            kind, given = ("ticking", {"ticks": 10}) if number % 2 else ("observed", {"n": number, "ms": 10})
            while True:
                try:
                    await attack.put(kind, given, lane=f"lane {number % 8}", dedupe=f"run {number}")
                except StorageUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    return

        async def kill() -> None:
            for n in range(kills):
                over = f"SELECT count(*) >= {(n + 1) * runs // (kills + 2)} FROM runs WHERE finished_at IS NOT NULL"
                await attack.until(over)
                os.kill(the(postmaster_pid(home)), signal.SIGKILL)

        async with asyncio.TaskGroup() as group:
            group.create_task(kill())
            for number in range(runs):
                await put(number)
        await attack.all_over(within_s=100)

        crashes = await attack.one("SELECT sum(crashes) FROM runs")
        steps = await attack.rows("SELECT epoch, count(*) FROM run_steps GROUP BY epoch ORDER BY epoch")
        tell(f"{runs} runs over {kills} deaths of the server: {crashes} begun again; steps by epoch: {steps}")
        assert await attack.one("SELECT count(*) FROM runs") == runs
        assert await attack.one("SELECT count(*) FROM run_steps WHERE is_done") == 10 * (runs // 2)
        assert await attack.one(OVERLAPS) == 0
        assert await attack.one(UNSETTLED) == 0
        assert await attack.gaps() == 0


DEATHS = [[border] for border in range(1, BOUNDARIES + 1)]
MORE_DEATHS = [[first, second] for first in range(1, BOUNDARIES + 1, 2) for second in (1, 2, 5, 8, 12, 14, 15, 16, 17)]


@pytest.mark.parametrize(
    "deaths",
    [
        pytest.param(DEATHS[::3], id="every-third"),
        pytest.param(DEATHS, id="once", marks=pytest.mark.soak),
        pytest.param(MORE_DEATHS, id="twice", marks=pytest.mark.soak),
    ],
)
async def test_killed_at_every_border_of_its_journal_a_run_has_each_effect_once(
    database: Database, deaths: list[list[int]]
) -> None:
    async with attacked(database, slots=2, max_crashes=1000) as attack:
        for at in deaths:
            await attack.put("effects", {"deaths": at})
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(attack.keep_alive(3))
            await attack.all_over(within_s=100)
            keeping.cancel()

        begun = await attack.one("SELECT sum(epoch) FROM runs")
        crashes = await attack.one("SELECT sum(crashes) FROM runs")
        calls = await attack.rows("SELECT key, count(*) AS times FROM attack_calls GROUP BY key")
        again = sum(row.times > 1 for row in calls)
        tell(f"{len(deaths)} runs begun {begun} times, {crashes} crashes; {len(calls)} effects, {again} tried twice")
        assert crashes >= len(deaths)
        assert await attack.one("SELECT count(*) FROM attack_effects") == len(deaths) * EFFECTS == len(calls)
        assert await attack.one("SELECT count(*) FROM run_steps WHERE is_done") == len(deaths) * EFFECTS
        assert await attack.one(UNSETTLED) == 0
        assert await attack.gaps() == 0


async def test_a_worker_that_was_frozen_for_longer_than_its_lease_writes_nothing(database: Database) -> None:
    ticks = 150
    async with attacked(database) as attack:
        await attack.start("frozen")
        run_id = await attack.put("ticking", {"ticks": ticks}, lane="a")
        steps = "SELECT count(*) FROM run_steps WHERE epoch = :epoch"
        await attack.until("SELECT count(*) >= 10 FROM run_steps WHERE epoch = 1")
        attack.kill("frozen", signal.SIGSTOP)
        await attack.start("other")
        await attack.until("SELECT count(*) >= 10 FROM run_steps WHERE epoch = 2")
        before = await attack.one(steps, epoch=1)
        said = "SELECT count(*) FROM run_events WHERE data ->> 'text' = '1'"
        said_before = await attack.one(said)

        attack.kill("frozen", signal.SIGCONT)

        await attack.all_over(within_s=60)
        counts = await attack.rows("SELECT epoch, count(*) FROM run_steps GROUP BY epoch ORDER BY epoch")
        tell(f"{ticks} steps by epoch: {counts}; said by the frozen one: {said_before}")
        assert await attack.one(steps, epoch=1) == before
        assert await attack.one(said) == said_before
        assert await attack.one("SELECT epoch FROM runs WHERE id = :id", id=run_id) == 2
        assert await attack.one("SELECT count(*) FROM run_steps WHERE is_done") == ticks
        assert attack.is_alive("frozen")
        await attack.put("ticking", {"ticks": 1})
        await attack.all_over(within_s=30)
        assert await attack.one(UNSETTLED) == 0
        assert await attack.gaps() == 0


async def test_work_that_keeps_the_event_loop_for_itself_keeps_its_run(database: Database) -> None:
    async with attacked(database, lease_s=1.0) as attack:
        await attack.start("busy")
        await attack.put("blocking", {"seconds": 1.2})
        await attack.until("SELECT count(*) = 1 FROM runs WHERE state = 'running'")
        await attack.start("idle")

        await attack.all_over(within_s=60)

        assert [tuple(row) for row in await attack.rows("SELECT epoch, crashes FROM runs")] == [(1, 0)]


@pytest.mark.soak
async def test_workers_that_are_told_to_end_hand_their_runs_on_at_once(database: Database) -> None:
    """Ten runs over a rolling restart of three workers, with a lease that nobody has the time to wait for."""
    async with attacked(database, lease_s=300.0, slots=4) as attack:
        for name in ("a", "b", "c"):
            await attack.start(name)
        for _ in range(10):
            await attack.put("ticking", {"ticks": 60})
        for name in ("a", "b", "c"):
            await asyncio.sleep(0.3)
            attack.kill(name, signal.SIGTERM)
            await attack.start(f"new {name}".replace(" ", "-"))

        await attack.all_over(within_s=60)

        tell(f"begun: {await attack.rows('SELECT epoch, count(*) FROM runs GROUP BY epoch ORDER BY epoch')}")
        assert await attack.one("SELECT max(epoch) FROM runs") > 1
        assert await attack.one("SELECT sum(crashes) + sum(failures) FROM runs") == 0
        assert await attack.one("SELECT count(*) FROM run_steps WHERE is_done") == 600
        assert await attack.one(UNSETTLED) == 0
        assert await attack.gaps() == 0
