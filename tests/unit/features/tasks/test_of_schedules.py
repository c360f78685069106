"""Tasks that are due at times: planned when they are made and changed, and what a heartbeat says."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import NewTask, Task, TaskChange, TaskType
from app.features.tasks.domain.verdict import QUIET
from app.features.tasks.use_cases.fire_slots import FireSlots
from app.features.tasks.use_cases.list_reports import ListReports
from app.features.tasks.use_cases.restore_task import RestoreTask
from app.infra.durable.ports import RunState
from app.kernel.errors import ValidationFailed
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery
from app.kernel.values import Json
from tests.fakes.agents import ScriptedAgents
from tests.fakes.chat_slice import ANN
from tests.fakes.task_slice import TaskSlice

NOW = datetime(2025, 12, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
VERDICT = {"severity": "error", "summary": "The disk is full.", "findings": ["/var"]}


def a_desk(answer: str = "") -> TaskSlice:
    desk = TaskSlice(agents=ScriptedAgents([answer])) if answer else TaskSlice()
    desk.slots.clock = NOW
    return desk


async def a_planned_task(
    desk: TaskSlice, expression: str = "every 1h", *, type_: TaskType = TaskType.SCHEDULED, **settings: Json
) -> Task:
    draft = NewTask(UserId("ann"), type_, "look", schedule_expression=expression, settings=settings or None)
    return (await desk.create(ANN, draft)).task


async def test_a_new_task_is_planned_and_whoever_waits_for_slots_is_told() -> None:
    desk = a_desk()

    task = await a_planned_task(desk)

    assert task.next_run_at == NOW + HOUR
    assert desk.alarm.rung == 1
    assert desk.runs_of(task.id) == []


@pytest.mark.parametrize(
    ("type_", "expression", "settings", "field"),
    [
        pytest.param(TaskType.SCHEDULED, "now and then", {}, "schedule_expression", id="no-time"),
        pytest.param(TaskType.SCHEDULED, "at 2025-12-01T11:59", {}, "schedule_expression", id="past"),
        pytest.param(TaskType.HEARTBEAT, "every 30m", {"overlap": "x"}, "settings.overlap", id="no-policy"),
        pytest.param(TaskType.HEARTBEAT, None, {}, "schedule_expression", id="a-heartbeat-without"),
        pytest.param(TaskType.DELEGATION, "every 30m", {}, "schedule_expression", id="one-that-begins-by-itself"),
    ],
)
async def test_a_schedule_that_is_none_is_refused(
    type_: TaskType, expression: str | None, settings: dict[str, Json], field: str
) -> None:
    desk = a_desk()
    draft = NewTask(UserId("ann"), type_, "look", schedule_expression=expression, settings=settings)

    with pytest.raises(ValidationFailed) as refused:
        await desk.create(ANN, draft)

    assert [one.field for one in refused.value.errors] == [field]
    assert desk.store.tasks == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(TaskChange(schedule_expression="every 2h"), NOW + HOUR / 2 + 2 * HOUR, id="another-interval"),
        pytest.param(TaskChange(settings={"misfire": "skip"}), NOW + HOUR / 2 + HOUR, id="another-policy"),
        pytest.param(TaskChange(prompt="look again"), NOW + HOUR, id="another-prompt"),
        pytest.param(TaskChange(schedule_expression="every 1h"), NOW + HOUR, id="nothing-new"),
        pytest.param(TaskChange(enabled=True), NOW + HOUR, id="enabled-already"),
        pytest.param(TaskChange(enabled=False), None, id="disabled"),
    ],
)
async def test_a_schedule_that_is_changed_counts_anew_and_no_other(change: TaskChange, expected: datetime) -> None:
    desk = a_desk()
    task = await a_planned_task(desk)
    desk.slots.clock = NOW + HOUR / 2

    changed = await desk.update(ANN, task.id, change)

    assert changed.next_run_at == expected


async def test_what_was_missed_while_a_task_was_disabled_is_not_made_up_for() -> None:
    desk = a_desk()
    task = await a_planned_task(desk)
    await desk.update(ANN, task.id, TaskChange(enabled=False))
    desk.slots.clock = NOW + 10 * HOUR

    enabled = await desk.update(ANN, task.id, TaskChange(enabled=True))

    assert enabled.next_run_at == NOW + 11 * HOUR


async def test_what_has_passed_is_not_enabled_again() -> None:
    desk = a_desk()
    task = await a_planned_task(desk, "at 2025-12-01T13:00")
    await desk.update(ANN, task.id, TaskChange(enabled=False))
    desk.slots.clock = NOW + 2 * HOUR

    with pytest.raises(ValidationFailed):
        await desk.update(ANN, task.id, TaskChange(enabled=True))
    assert (await desk.update(ANN, task.id, TaskChange(prompt="look again"))).next_run_at is None


async def test_a_task_that_is_brought_back_is_planned_anew() -> None:
    desk = a_desk()
    task = await a_planned_task(desk)
    await desk.delete(ANN, task.id)
    desk.slots.clock = NOW + 10 * HOUR

    back = await RestoreTask(desk.begin, desk.store, desk.plan, desk.audit)(ANN, task.id)

    assert back.next_run_at == NOW + 11 * HOUR


async def test_a_run_by_hand_takes_no_slot() -> None:
    desk = a_desk()
    task = await a_planned_task(desk)

    run = await desk.execute(ANN, task.id)

    assert (run.trigger, run.scheduled_for) == ("manual", None)
    assert (await desk.task(task)).next_run_at == NOW + HOUR
    assert desk.slots.slots == {}


async def a_report(desk: TaskSlice, task: Task) -> tuple[object, ...]:
    page = await ListReports(desk.begin, desk.store, desk.runs)(ANN, task.id, ListQuery())
    (report,) = page.items
    assert report.verdict is not None
    verdict = report.verdict
    return verdict.severity, verdict.summary, verdict.findings, verdict.has_something_to_say


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(QUIET, (Severity.SUCCESS, "", (), False), id="quiet"),
        pytest.param(json.dumps(VERDICT), (Severity.ERROR, "The disk is full.", ("/var",), True), id="a-verdict"),
        pytest.param("0 errors", (Severity.WARNING, "0 errors", (), True), id="none"),
    ],
)
async def test_a_heartbeat_is_fired_asked_for_a_verdict_and_told_of_with_it(
    answer: str, expected: tuple[object, ...]
) -> None:
    desk = a_desk(answer)
    task = await a_planned_task(desk, type_=TaskType.HEARTBEAT)
    desk.slots.clock = NOW + HOUR

    async with desk.working():
        await FireSlots(desk.begin, desk.slots, desk.queue, desk.start, desk.engine)()
        (run_id,) = desk.runs_of(task.id)
        run = await desk.ended(run_id)

    ((_, turn),) = desk.agents.asked
    assert turn.text.startswith("look\n")
    assert QUIET in turn.text
    assert (run.trigger, run.scheduled_for, run.answer) == ("heartbeat", NOW + HOUR, answer)
    (told,) = desk.outcomes.noted
    assert (told.severity, told.has_something_to_say) == (expected[0], expected[3])
    assert await a_report(desk, task) == expected


async def test_a_run_that_failed_is_reported_as_an_error_with_its_reason() -> None:
    desk = a_desk()
    desk.standing.withdraw("ann")
    task = await a_planned_task(desk, type_=TaskType.HEARTBEAT)

    async with desk.working():
        run = await desk.ended((await desk.execute(ANN, task.id)).id)

    assert run.status is RunState.FAILED
    assert run.error is not None
    assert await a_report(desk, task) == (Severity.ERROR, run.error.detail, (), True)
