"""The history of tasks and their sums, off the engine's own rows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from app.features.tasks.domain.history import Entry, HistoryFilter, Moment, Place, SumBy
from app.features.tasks.domain.severity import Severity
from app.features.tasks.repository.history import PostgresHistoryStore
from app.infra.db.engine import Database, session_of
from app.infra.durable.ports import NewRun, RunState
from app.infra.durable.queue import PostgresRunQueue
from app.infra.events.ports import EventType
from app.kernel.ids import RunId, TaskId, UserId, new_run_id

NOON = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
STORE = PostgresHistoryStore()


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def a_run(
    database: Database,
    task_id: TaskId | None,
    *,
    owner: str = "ann",
    agent: str = "echo",
    state: RunState = RunState.COMPLETED,
    began: float = 0,
    took: float = 1,
    cost: str | None = None,
    parent: RunId | None = None,
) -> RunId:
    run = NewRun(new_run_id(), "nobodys", UserId(owner), "manual", {}, task_id=task_id, agent=agent, parent_id=parent)
    async with database.begin() as tx:
        run_id = await PostgresRunQueue().put(tx, run)
        ended = {
            "id": run_id,
            "state": state.value,
            "began": at(began),
            "over": at(began + took) if state.is_final else None,
            "cost": None if cost is None else Decimal(cost),
        }
        change = "state = :state, started_at = :began, finished_at = :over, cost = :cost"
        await session_of(tx).execute(text(f"UPDATE runs SET {change} WHERE id = :id"), ended)
    return run_id


async def read(
    database: Database, only: HistoryFilter | None = None, *, after: Place | None = None, limit: int = 100
) -> Sequence[Entry]:
    async with database.begin() as tx:
        return await STORE.entries(tx, only or HistoryFilter(), after=after, limit=limit)


def told(entries: Sequence[Entry]) -> list[tuple[RunId, str]]:
    return [(entry.place.run_id, entry.type.value) for entry in entries]


async def test_starts_and_ends_are_told_by_their_time_the_newest_first(database: Database) -> None:
    task = TaskId(new_run_id())
    long = await a_run(database, task, began=0, took=10, state=RunState.FAILED)
    short = await a_run(database, task, began=2, took=3)
    alive = await a_run(database, task, began=4, state=RunState.RUNNING)
    await a_run(database, None)  # of no task
    await a_run(database, task, parent=long)  # what a run began is its own affair

    entries = await read(database)

    assert told(entries) == [
        (long, "run_failed"),
        (short, "run_completed"),
        (alive, "run_started"),
        (short, "run_started"),
        (long, "run_started"),
    ]
    assert [(entry.severity, entry.duration_ms) for entry in entries[:3]] == [
        (Severity.ERROR, 10_000),
        (Severity.SUCCESS, 3000),
        (None, None),
    ]


async def test_pages_neither_miss_nor_repeat_an_entry_also_of_one_moment(database: Database) -> None:
    task = TaskId(new_run_id())
    for number in range(7):
        await a_run(database, task, began=number // 3, took=0)
    everything = told(await read(database))

    for size in (1, 2, 5):
        found: list[tuple[RunId, str]] = []
        after: Place | None = None
        while page := await read(database, after=after, limit=size):
            found += told(page)
            after = Place.parse(str(page[-1].place))
        assert found == everything
    assert len(everything) == 14


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (HistoryFilter(owner=UserId("ben")), ["run_interrupted", "run_started"]),
        (HistoryFilter(agent="other"), ["run_failed", "run_started"]),
        (HistoryFilter(type_=EventType.RUN_STARTED), ["run_started"] * 3),
        (HistoryFilter(type_=EventType.RUN_FAILED), ["run_failed"]),
        (HistoryFilter(severity=Severity.WARNING), ["run_interrupted"]),
        (HistoryFilter(type_=EventType.RUN_STARTED, severity=Severity.ERROR), []),
        (HistoryFilter(since=at(20)), ["run_interrupted", "run_started"]),
        (HistoryFilter(until=at(10)), ["run_completed", "run_started"]),
    ],
    ids=["owner", "agent", "starts", "failures", "severity", "no start is bad", "since", "until"],
)
async def test_a_filter_leaves_what_it_names(database: Database, only: HistoryFilter, expected: list[str]) -> None:
    await a_run(database, TaskId(new_run_id()), began=0)
    await a_run(database, TaskId(new_run_id()), began=10, state=RunState.FAILED, agent="other")
    await a_run(database, TaskId(new_run_id()), began=20, state=RunState.INTERRUPTED, owner="ben")

    entries = await read(database, only)

    assert [entry.type.value for entry in entries] == expected


async def test_a_task_is_summed_up(database: Database) -> None:
    task, other = TaskId(new_run_id()), TaskId(new_run_id())
    runs = [
        await a_run(database, task, began=0, took=took, state=state, cost=cost)
        for took, state, cost in (
            (1, RunState.COMPLETED, "0.25"),
            (2, RunState.COMPLETED, None),
            (9, RunState.FAILED, "0.50"),
            (99, RunState.INTERRUPTED, None),
            (0, RunState.RUNNING, None),
        )
    ]
    await a_run(database, task, parent=runs[0], cost="1", agent="helper")
    await a_run(database, other, owner="ben", agent="helper")

    async with database.begin() as tx:
        by_task = await STORE.sums(tx, HistoryFilter(), by=SumBy.TASK)
        by_agent = await STORE.sums(tx, HistoryFilter(owner=UserId("ann")), by=SumBy.AGENT)
        nothing = await STORE.sums(tx, HistoryFilter(until=NOON - timedelta(days=1)), by=SumBy.TASK)

    assert [(one.task_id, one.runs) for one in by_task] == [(other, 1), (task, 5)]
    found = by_task[1]
    assert (found.by_state[RunState.COMPLETED], found.by_state[RunState.QUEUED]) == (2, 0)
    assert found.success_rate == pytest.approx(2 / 3)
    assert (found.mean_ms, found.median_ms, found.p95_ms) == (4000, 2000, 8300)
    assert (found.last_run.id, found.last_run.state) == (runs[4], RunState.RUNNING)
    assert found.cost == Decimal("1.75")
    assert [(one.agent, one.task_id, one.runs) for one in by_agent] == [("echo", None, 5)]
    assert list(nothing) == []


async def test_nothing_that_came_to_an_end_is_no_rate(database: Database) -> None:
    await a_run(database, TaskId(new_run_id()), state=RunState.RUNNING)

    async with database.begin() as tx:
        (found,) = await STORE.sums(tx, HistoryFilter(), by=SumBy.TASK)

    assert (found.success_rate, found.mean_ms, found.cost) == (None, None, None)


def test_a_place_is_read_as_it_was_written() -> None:
    place = Place(at(0.000001), new_run_id(), Moment.END)

    assert Place.parse(str(place)) == place


@pytest.mark.parametrize("written", ["1.2", "a.b.c", "-1." + "0" * 32 + ".1", "1." + "0" * 32 + ".3"])
def test_what_is_no_place_is_refused(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever part is wrong
        Place.parse(written)


async def test_a_page_is_read_off_the_indexes(database: Database) -> None:
    """However long a history is, one that is not read by an index would be sorted whole."""
    statement = "SELECT id FROM runs WHERE task_id IS NOT NULL AND parent_id IS NULL AND {at} IS NOT NULL AND {whose}"
    async with database.begin() as tx:
        session = session_of(tx)
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_sort = off"))
        for at_, whose, index in (
            ("started_at", "true", "ix_runs_starts"),
            ("finished_at", "owner = 'ann'", "ix_runs_owners_ends"),
        ):
            ordered = f"{statement.format(at=at_, whose=whose)} ORDER BY {at_} DESC, id DESC LIMIT 20"
            plan = "\n".join(await session.scalars(text(f"EXPLAIN {ordered}")))
            assert index in plan
