"""What the run of a task does, and what its end brings about."""

from dataclasses import replace
from uuid import uuid4

import pytest

from app.agents.contract import AgentFailed
from app.features.tasks.domain.batch import MAX_TASKS, BatchNotFound
from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import MAX_WAITING, NewTask, TaskBusy, TaskChange, TaskType, Trigger
from app.features.tasks.use_cases.start_task import Start
from app.features.tasks.use_cases.withdraw_tasks import WithdrawTasks
from app.infra.durable.ports import RunState
from app.kernel.errors import ValidationFailed
from app.kernel.identity import Access
from app.kernel.keyed_requests import KeyedRequest
from tests.fakes.chat_slice import ADMIN, ANN, BEN, a_principal
from tests.fakes.task_slice import TaskSlice

ANN_AGAIN = replace(ANN, issued_at=1.0)
"""with a newer token"""


async def test_the_agent_is_asked_what_the_task_says_and_nobody_is_there_to_be_asked() -> None:
    desk = TaskSlice()

    async with desk.working():
        made = await desk.a_task("Sum it up.")
        run = await desk.ended(made.run_id)

    ((_, turn),) = desk.agents.asked
    assert (turn.text, turn.chat_id, turn.is_attended) == ("Sum it up.", None, False)
    assert turn.caller.user_id == "ann"
    assert turn.caller.acting is not None
    assert turn.caller.acting.run_id == made.run_id
    assert (run.status, run.answer) == (RunState.COMPLETED, "Sum it up.")


async def test_the_end_is_told_once_with_what_was_answered() -> None:
    desk = TaskSlice()

    async with desk.working():
        made = await desk.a_task("Sum it up.")
        await desk.ended(made.run_id)

    (told,) = desk.outcomes.noted
    assert (told.task_id, told.run_id, told.owner) == (made.task.id, made.run_id, "ann")
    assert (told.severity, told.state, told.title, told.text) == (
        Severity.SUCCESS,
        RunState.COMPLETED,
        "Sum it up.",
        "Sum it up.",
    )
    after = await desk.task(made.task)
    assert (after.last_run_id, after.last_status) == (made.run_id, RunState.COMPLETED)


async def test_a_revoked_owners_task_does_not_run() -> None:
    desk = TaskSlice()
    desk.standing.withdraw("ann")

    async with desk.working():
        made = await desk.a_task()
        run = await desk.ended(made.run_id)

    assert desk.agents.asked == []
    assert run.error is not None
    assert (run.status, run.error.type) == (RunState.FAILED, "authority-withdrawn")
    assert (await desk.task(made.task)).enabled
    assert desk.outcomes.noted[0].severity is Severity.ERROR


@pytest.mark.parametrize("role", ["guest", "nobody"])
async def test_roles_that_open_no_door_any_more_do_not_run(role: str) -> None:
    desk = TaskSlice()

    async with desk.working():
        made = await desk.a_task(who=a_principal("ann", role, Access.COMMON))
        run = await desk.ended(made.run_id)

    assert desk.agents.asked == []
    assert run.error is not None
    assert run.error.type == "authority-withdrawn"


async def test_a_task_begins_when_all_it_waits_for_are_done() -> None:
    desk = TaskSlice()
    desk.agents.hold()
    one, other = await desk.a_task("one"), await desk.a_task("other")
    waiting = await desk.a_task("both", one.task, other.task)
    assert waiting.run_id is None

    async with desk.working():
        desk.agents.release()
        await desk.ended(one.run_id)
        await desk.ended(other.run_id)
        (run_id,) = desk.runs_of(waiting.task.id)
        run = await desk.ended(run_id)

    assert (run.status, run.trigger) == (RunState.COMPLETED, "delegation")
    assert desk.agents.last_turn.text == "both"


async def test_a_failed_task_blocks_those_that_wait_for_it_and_a_good_run_lets_them_go() -> None:
    desk = TaskSlice()
    desk.standing.withdraw("ann")
    needed = await desk.a_task("one")
    waiting = await desk.a_task("two", needed.task)

    async with desk.working():
        await desk.ended(needed.run_id)
        assert (await desk.task(waiting.task)).blocked_by == (needed.task.id,)
        assert desk.outcomes.noted[0].blocked == (waiting.task.id,)
        desk.standing.withdrawn.clear()
        again = await desk.execute(ANN, needed.task.id)
        await desk.ended(again.id)
        (run_id,) = desk.runs_of(waiting.task.id)
        run = await desk.ended(run_id)

    assert run.status is RunState.COMPLETED
    assert (await desk.task(waiting.task)).blocked_by == ()


async def test_a_task_that_waited_begins_once_however_often_the_others_are_done() -> None:
    desk = TaskSlice()
    needed = await desk.a_task("one")
    waiting = await desk.a_task("two", needed.task)

    async with desk.working():
        await desk.ended(needed.run_id)
        again = await desk.execute(ANN, needed.task.id)
        await desk.ended(again.id)

        assert len(desk.runs_of(waiting.task.id)) == 1


async def test_a_deleted_task_is_not_done_and_those_that_wait_for_it_are_blocked() -> None:
    desk = TaskSlice()
    made = await desk.a_task("one")
    waiting = await desk.a_task("two", made.task)

    await desk.delete(ANN, made.task.id)
    run = await desk.ended(made.run_id)

    assert run.status is RunState.INTERRUPTED
    assert desk.agents.asked == []
    assert (await desk.task(waiting.task)).blocked_by == (made.task.id,)


async def test_runs_of_one_task_come_one_after_another() -> None:
    desk = TaskSlice()
    made = await desk.a_task("one", type_=TaskType.TRIGGERED)
    first, second = await desk.execute(ANN, made.task.id), await desk.execute(ANN, made.task.id)

    assert [desk.kept.find(run.id).new.lane for run in (first, second)] == [f"task:{made.task.id}"] * 2


async def test_what_was_withdrawn_once_stays_so_when_that_is_forgotten() -> None:
    desk = TaskSlice()
    made = await desk.a_task(type_=TaskType.TRIGGERED)
    desk.standing.withdraw("ann")
    await WithdrawTasks(desk.begin, desk.store)()
    desk.standing.withdrawn.clear()

    async with desk.working():
        refused = await desk.ended((await desk.execute(ADMIN, made.task.id)).id)
        by_owner = await desk.ended((await desk.execute(ANN_AGAIN, made.task.id)).id)
        await desk.update(ANN_AGAIN, made.task.id, TaskChange(enabled=True))
        renewed = await desk.ended((await desk.execute(ADMIN, made.task.id)).id)

    assert refused.error is not None
    assert refused.error.type == "authority-withdrawn"
    assert (by_owner.status, renewed.status) == (RunState.COMPLETED, RunState.COMPLETED)


async def test_an_admins_change_leaves_whose_rights_it_has() -> None:
    desk = TaskSlice()
    made = await desk.a_task(type_=TaskType.TRIGGERED)

    changed = await desk.update(ADMIN, made.task.id, TaskChange(prompt="New"))

    assert (changed.prompt, changed.authority) == ("New", made.task.authority)
    assert [act.action for act in desk.audit.acts] == ["task.updated"]


async def test_a_disabled_task_that_waited_begins_when_it_is_enabled() -> None:
    desk = TaskSlice()
    needed = await desk.a_task("one", type_=TaskType.TRIGGERED)
    waiting = await desk.a_task("two", needed.task)
    await desk.update(ANN, waiting.task.id, TaskChange(enabled=False))

    async with desk.working():
        await desk.ended((await desk.execute(ANN, needed.task.id)).id)
        assert desk.runs_of(waiting.task.id) == []
        await desk.update(ANN, waiting.task.id, TaskChange(enabled=True))
        await desk.update(ANN, waiting.task.id, TaskChange(enabled=False))
        await desk.update(ANN, waiting.task.id, TaskChange(enabled=True))

        (run_id,) = desk.runs_of(waiting.task.id)
        assert (await desk.ended(run_id)).status is RunState.COMPLETED


async def test_many_runs_are_begun_at_once_each_with_its_own_words() -> None:
    desk = TaskSlice()
    made = [(await desk.a_task(f"{n}", type_=TaskType.TRIGGERED)).task for n in range(3)]

    async with desk.begin() as tx:
        starts = [Start(task, Trigger.SCHEDULE, prompt=f"slot {task.prompt}", dedupe=f"{task.id}") for task in made]
        first, again = await desk.start.put_many(tx, starts), await desk.start.put_many(tx, starts)

    assert list(first) == list(again)
    runs = [desk.kept.find(run_id).new for run_id in first]
    assert [run.input["prompt"] for run in runs] == ["slot 0", "slot 1", "slot 2"]
    assert [(run.trigger, run.task_id, run.owner) for run in runs] == [("schedule", task.id, "ann") for task in made]


async def test_a_batch_tells_how_its_tasks_stand_and_what_failed_is_run_again_once() -> None:
    desk = TaskSlice()
    desk.agents.replies = [AgentFailed("No."), "good", "better"]
    drafts = [NewTask(ANN.user_id, TaskType.DELEGATION, prompt) for prompt in ("bad", "good")]

    async with desk.working():
        batch = await desk.create_batch(ANN, drafts)
        for run in batch.newest.values():
            await desk.ended(run.id)
        (failed,) = [task for task in batch.tasks if (await desk.task(task)).last_status is RunState.FAILED]
        desk.agents.hold()
        again = [await desk.retry_failed(ANN, batch.id) for _ in range(2)]
        desk.agents.release()
        await desk.ended(again[0].newest[failed.id].id)

    assert again[0].newest == again[1].newest
    assert {name: count for name, count in again[0].counts.items() if count} in (
        {"queued": 1, "completed": 1},
        {"running": 1, "completed": 1},
    )
    assert len(desk.runs_of(failed.id)) == 2


async def test_another_persons_batch_is_not_found() -> None:
    desk = TaskSlice()
    batch = await desk.create_batch(ANN, [NewTask(ANN.user_id, TaskType.TRIGGERED, "one")])

    with pytest.raises(BatchNotFound):
        await desk.retry_failed(BEN, batch.id)


@pytest.mark.parametrize("count", [0, MAX_TASKS + 1])
async def test_a_batch_is_bounded(count: int) -> None:
    desk = TaskSlice()

    with pytest.raises(ValidationFailed):
        await desk.create_batch(ANN, [NewTask(ANN.user_id, TaskType.TRIGGERED, "one")] * count)


async def test_a_task_is_asked_for_twenty_times_and_no_more() -> None:
    desk = TaskSlice()
    made = await desk.a_task()
    keyed = KeyedRequest(uuid4(), ANN.user_id, "key", b"")
    first = await desk.execute(ANN, made.task.id, keyed=keyed)
    for _ in range(MAX_WAITING - 1):
        await desk.execute(ANN, made.task.id)

    with pytest.raises(TaskBusy):
        await desk.execute(ANN, made.task.id)

    assert len(desk.runs_of(made.task.id)) == MAX_WAITING + 1  # and the one it began with
    assert (await desk.execute(ANN, made.task.id, keyed=keyed)).id == first.id
