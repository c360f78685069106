"""What the store of tasks promises, asked of the fake and of PostgreSQL alike."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.features.tasks.domain.task import NewTask, Task, TaskChange, TaskFilter, TaskType
from app.features.tasks.ports import Standing, TaskStore
from app.features.tasks.repository.tasks import PostgresTaskStore
from app.infra.db.engine import Database
from app.infra.db.revocations import PostgresRevocationStore
from app.infra.db.standing import PostgresStanding
from app.infra.durable.ports import RunState
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId, UserId, new_run_id
from app.kernel.paging import ListQuery, Search
from app.kernel.revocation import Mark, NewRevocation
from app.kernel.transaction import Begin, Tx
from tests.fakes.tasks import FakeStanding, FakeTaskStore

DONE, FAILED = RunState.COMPLETED, RunState.FAILED
A_DRAFT = NewTask(UserId("ann"), TaskType.DELEGATION, "Sum it up.")


@dataclass
class Desk:
    store: TaskStore
    begin: Begin
    standing: Standing
    withdraw: Callable[[Tx, Mark, str], Awaitable[None]]
    """as of a minute before now"""

    async def add(
        self, draft: NewTask = A_DRAFT, *needs: Task, batch_id: UUID | None = None, at_s: float = 1.5
    ) -> Task:
        draft = replace(draft, depends_on=tuple(task.id for task in needs))
        authority = Authority(draft.owner, ("user",), at_s, "token")
        async with self.begin() as tx:
            await self.store.hold(tx, draft.depends_on)
            return await self.store.add(tx, TaskId(new_run_id()), draft, authority=authority, batch_id=batch_id)

    async def find(self, task: Task) -> Task | None:
        async with self.begin() as tx:
            return await self.store.find(tx, task.id)

    async def list(self, only: TaskFilter | None = None, query: ListQuery | None = None) -> list[str]:
        async with self.begin() as tx:
            page = await self.store.list(tx, query or ListQuery(), only=only or TaskFilter())
        assert page.total >= len(page.items)
        return [task.prompt for task in page.items]

    async def update(self, task: Task, change: TaskChange, authority: Authority | None = None) -> Task | None:
        async with self.begin() as tx:
            return await self.store.update(tx, task.id, change, authority=authority)

    async def delete(self, task: Task) -> None:
        async with self.begin() as tx:
            await self.store.delete(tx, task.id)

    async def end(self, task: Task, state: RunState = DONE) -> Sequence[TaskId]:
        """End a run of it, and name those that are ready then."""
        async with self.begin() as tx:
            await self.store.settle(tx, task.id, RunId(new_run_id()), state)
            waiting = await self.store.tell_dependants(tx, task.id, state)
            return [one.id for one in await self.store.ready(tx, waiting)]


@pytest.fixture(params=["fake", "postgres"])
def desk(request: pytest.FixtureRequest) -> Desk:
    if request.param == "fake":
        store, standing = FakeTaskStore(), FakeStanding()
        store.standing = standing

        async def note(tx: Tx, mark: Mark, name: str) -> None:
            standing.withdrawn[mark, name] = time.time() - 60

        return Desk(store, store.begin, standing, note)
    database: Database = request.getfixturevalue("database")

    async def revoke(tx: Tx, mark: Mark, name: str) -> None:
        now = datetime.now(UTC)
        draft = NewRevocation(mark, name, now - timedelta(minutes=1), now + timedelta(hours=1), "root")
        assert await PostgresRevocationStore().add(tx, draft, limit=10)

    return Desk(PostgresTaskStore(), database.begin, PostgresStanding(), revoke)


class TestTaskStore:
    async def test_a_task_is_kept_as_it_was_drafted(self, desk: Desk) -> None:
        draft = NewTask(
            UserId("ann"),
            TaskType.SCHEDULED,
            "What is new?",
            agent="echo",
            schedule_expression="0 7 * * *",
            timezone="Europe/Berlin",
            trigger_config={"verify": "standard"},
            notification_config={"on": ["error"]},
            settings={"quiet": True},
            context_data={"team": [1, None]},
        )

        made = await desk.add(draft)

        assert await desk.find(made) == made
        names = [name for name in NewTask.__slots__ if name != "depends_on"]
        assert {name: getattr(made, name) for name in names} == {name: getattr(draft, name) for name in names}
        assert made.authority == Authority(UserId("ann"), ("user",), 1.5, "token")
        assert (made.enabled, made.last_status, made.depends_on, made.blocked_by) == (True, None, (), ())

    async def test_a_change_leaves_what_it_does_not_name(self, desk: Desk) -> None:
        made = await desk.add(replace(A_DRAFT, agent="echo", settings={"a": 1}))
        again = Authority(UserId("ann"), ("manager",))

        changed = await desk.update(made, TaskChange(prompt="New", settings=None, enabled=False), again)

        assert changed is not None
        assert (changed.prompt, changed.agent, changed.settings, changed.enabled) == ("New", "echo", None, False)
        assert changed.authority == again
        assert changed.updated_at > made.updated_at

    async def test_a_deleted_task_is_hidden_and_comes_back_as_it_was(self, desk: Desk) -> None:
        made = await desk.add()

        await desk.delete(made)

        assert await desk.find(made) is None
        assert await desk.update(made, TaskChange(prompt="New")) is None
        assert await desk.list() == []
        async with desk.begin() as tx:
            kept = await desk.store.find_kept(tx, made.id)
            assert kept is not None
            assert kept.deleted_at is not None
            assert await desk.store.restore(tx, made.id) == made

    async def test_lists_are_filtered_searched_and_cut(self, desk: Desk) -> None:
        first = await desk.add(replace(A_DRAFT, prompt="one 100%"))
        second = await desk.add(replace(A_DRAFT, prompt="two", task_type=TaskType.TRIGGERED))
        await desk.add(NewTask(UserId("ben"), TaskType.DELEGATION, "three"))
        await desk.update(second, TaskChange(enabled=False))

        assert await desk.list() == ["three", "two", "one 100%"]
        assert await desk.list(TaskFilter(owner=UserId("ann"))) == ["two", "one 100%"]
        assert await desk.list(TaskFilter(task_type=TaskType.TRIGGERED)) == ["two"]
        assert await desk.list(TaskFilter(enabled=False)) == ["two"]
        assert await desk.list(TaskFilter(ids=(first.id,))) == ["one 100%"]
        assert await desk.list(query=ListQuery(search=Search("prompt", "E 100%", ignore_case=True))) == ["one 100%"]
        assert await desk.list(query=ListQuery(limit=1, offset=1)) == ["two"]
        assert await desk.list(query=ListQuery(order_by="created_at", sort_order="asc", limit=1)) == ["one 100%"]
        assert await desk.list(query=ListQuery(created_after=datetime.now(UTC) + timedelta(hours=1))) == []

    async def test_the_run_that_ended_last_is_told_of_even_when_the_task_is_deleted(self, desk: Desk) -> None:
        made = await desk.add()
        await desk.delete(made)
        run_id = RunId(new_run_id())

        async with desk.begin() as tx:
            ended = await desk.store.settle(tx, made.id, run_id, FAILED)

        assert ended is not None
        assert (ended.last_run_id, ended.last_status, ended.updated_at) == (run_id, FAILED, made.updated_at)
        assert ended.last_run_at is not None

    async def test_nobody_is_told_of_a_task_there_is_not(self, desk: Desk) -> None:
        async with desk.begin() as tx:
            assert await desk.store.settle(tx, TaskId(new_run_id()), RunId(new_run_id()), DONE) is None

    async def test_a_task_is_ready_when_all_it_needs_are_done(self, desk: Desk) -> None:
        one, other = await desk.add(), await desk.add()
        waiting = await desk.add(A_DRAFT, one, other)

        assert waiting.depends_on == tuple(sorted((one.id, other.id)))
        assert await desk.end(one) == []
        assert await desk.end(other) == [waiting.id]

    async def test_a_failed_dependency_blocks_until_it_is_made_good(self, desk: Desk) -> None:
        needed = await desk.add()
        waiting = await desk.add(A_DRAFT, needed)

        assert await desk.end(needed, FAILED) == []
        blocked = await desk.find(waiting)
        assert blocked is not None
        assert blocked.blocked_by == (needed.id,)
        assert await desk.end(needed) == [waiting.id]

    async def test_what_was_done_before_needs_no_waiting_for(self, desk: Desk) -> None:
        needed = await desk.add()
        await desk.end(needed)

        late = await desk.add(A_DRAFT, needed)

        async with desk.begin() as tx:
            assert [task.id for task in await desk.store.ready(tx, [late.id])] == [late.id]

    async def test_a_disabled_task_is_not_ready(self, desk: Desk) -> None:
        made = await desk.add()
        await desk.update(made, TaskChange(enabled=False))

        async with desk.begin() as tx:
            assert await desk.store.ready(tx, [made.id]) == []

    async def test_a_run_does_not_end_unseen_while_somebody_begins_to_wait_for_it(self, desk: Desk) -> None:
        needed = await desk.add()
        is_held = asyncio.Event()

        async def wait_for_it() -> TaskId:
            async with desk.begin() as tx:
                await desk.store.hold(tx, [needed.id])
                is_held.set()
                await asyncio.sleep(0.1)  # for the other to end the run meanwhile, if it could
                draft = replace(A_DRAFT, depends_on=(needed.id,))
                made = await desk.store.add(tx, TaskId(new_run_id()), draft, authority=needed.authority)
            return made.id

        async with asyncio.TaskGroup() as group:
            made = group.create_task(wait_for_it())
            await is_held.wait()
            ready = group.create_task(desk.end(needed))

        assert ready.result() == [made.result()]

    async def test_a_batch_holds_what_was_made_for_it_in_order(self, desk: Desk) -> None:
        batch_id = new_run_id()
        made = [await desk.add(batch_id=batch_id) for _ in range(3)]
        await desk.add()
        await desk.delete(made[1])

        async with desk.begin() as tx:
            found = await desk.store.of_batch(tx, batch_id)

        assert [task.id for task in found] == [made[0].id, made[2].id]
        assert {task.batch_id for task in found} == {batch_id}

    @pytest.mark.parametrize(("mark", "name"), [(Mark.SUBJECT, "ann"), (Mark.JWT_ID, "token")])
    async def test_what_was_withdrawn_is_remembered_until_the_rights_are_new(
        self, desk: Desk, mark: Mark, name: str
    ) -> None:
        made = await desk.add()
        late = await desk.add(at_s=time.time())
        async with desk.begin() as tx:
            assert not await desk.standing.is_withdrawn(tx, made.authority)
            await desk.withdraw(tx, mark, name)

        async with desk.begin() as tx:
            assert await desk.standing.is_withdrawn(tx, made.authority)
            assert not await desk.standing.is_withdrawn(tx, late.authority)
            assert [await desk.store.withdraw(tx) for _ in range(2)] == [1, 0]

        marked, kept = await desk.find(made), await desk.find(late)
        assert marked is not None
        assert kept is not None
        assert marked.withdrawn_at is not None
        assert (marked.updated_at, kept.withdrawn_at) == (made.updated_at, None)
        renewed = await desk.update(made, TaskChange(), late.authority)
        assert renewed is not None
        assert renewed.withdrawn_at is None

    async def test_what_is_withdrawn_of_somebody_else_is_not_ours(self, desk: Desk) -> None:
        made = await desk.add()

        async with desk.begin() as tx:
            await desk.withdraw(tx, Mark.SUBJECT, "ben")
            await desk.withdraw(tx, Mark.JWT_ID, "ann")

            assert not await desk.standing.is_withdrawn(tx, made.authority)
            assert await desk.store.withdraw(tx) == 0
