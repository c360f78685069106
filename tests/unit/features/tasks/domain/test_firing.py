"""What becomes of a task that is due, rule by rule, and of one whose clock jumps."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.features.tasks.domain.firing import Beside, Decision, Fired, SlotOutcome, Unfinished, decide, digest_of
from app.features.tasks.domain.schedule import MOST_MADE_UP, MOST_WAITING
from app.features.tasks.domain.task import Task, TaskType
from app.features.tasks.domain.timing import schedule_of
from app.infra.durable.ports import RunState
from app.kernel.authority import Authority
from app.kernel.ids import TaskId, UserId, new_run_id
from app.kernel.values import Json

SINCE = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
COMPLETED, FAILED, INTERRUPTED = RunState.COMPLETED, RunState.FAILED, RunState.INTERRUPTED


def a_task(
    task_type: TaskType = TaskType.SCHEDULED, expression: str = "every 1h", settings: dict[str, Json] | None = None
) -> Task:
    return Task(
        id=TaskId(new_run_id()),
        owner=UserId("ann"),
        task_type=task_type,
        prompt="look at the disks",
        agent=None,
        enabled=True,
        authority=Authority(UserId("ann"), ("user",)),
        created_at=SINCE,
        updated_at=SINCE,
        schedule_expression=expression,
        schedule={"since": SINCE.isoformat()},
        settings=settings,
        context_data={"disks": ["/var"]},
    )


def decided(
    task: Task,
    *,
    due: datetime = SINCE + HOUR,
    late: timedelta = timedelta(0),
    unfinished: Sequence[Unfinished] = (),
    fired: Sequence[Fired] = (),
) -> Decision:
    return decide(task, schedule_of(task), due=due, now=due + late, beside=Beside(unfinished, fired))


def slots(decision: Decision) -> list[tuple[str, str]]:
    return [(f"{slot.at:%d %H:%M}", slot.outcome.value) for slot in decision.slots]


def a_run(*, is_cancelled: bool = False) -> Unfinished:
    return Unfinished(new_run_id(), is_cancelled)


def test_a_slot_is_fired_and_the_next_one_awaited() -> None:
    found = decided(a_task())

    assert slots(found) == [("01 13:00", "fired")]
    assert found.next_run_at == SINCE + 2 * HOUR


def test_once_is_awaited_no_more() -> None:
    assert decided(a_task(expression="at 2026-12-01T13:00")).next_run_at is None


@pytest.mark.parametrize(
    ("settings", "late", "expected"),
    [
        pytest.param({}, 5 * HOUR + MINUTE, [("01 18:00", "fired")], id="the-latest-is-fired-once"),
        pytest.param(
            {"misfire": "skip"}, 5 * HOUR + 2 * MINUTE, [("01 18:00", "missed")], id="what-is-late-is-left-out"
        ),
        pytest.param({"misfire": "skip"}, 5 * HOUR + MINUTE, [("01 18:00", "fired")], id="but-not-what-is-just-due"),
        pytest.param(
            {"misfire": "fire_all", "overlap": "queue"},
            2 * HOUR,
            [("01 13:00", "fired"), ("01 14:00", "fired"), ("01 15:00", "fired")],
            id="all-are-made-up-for",
        ),
    ],
)
def test_slots_that_were_missed(settings: dict[str, Json], late: timedelta, expected: list[tuple[str, str]]) -> None:
    found = decided(a_task(settings=settings), late=late)

    assert slots(found) == expected
    assert found.next_run_at == SINCE + (late // HOUR + 2) * HOUR


def test_what_is_made_up_for_has_a_bound() -> None:
    found = decided(a_task(settings={"misfire": "fire_all", "overlap": "queue"}), late=1000 * HOUR)

    assert len(found.slots) == MOST_MADE_UP
    assert [one.outcome for one in found.slots].count(SlotOutcome.FIRED) == MOST_WAITING
    assert found.slots[-1].at == SINCE + 1001 * HOUR


@pytest.mark.parametrize(
    ("overlap", "waiting", "outcome"),
    [
        pytest.param("skip", 1, "overlap", id="skip"),
        pytest.param("queue", 1, "fired", id="queue"),
        pytest.param("queue", MOST_WAITING, "overlap", id="queue-has-a-bound"),
    ],
)
def test_a_slot_that_comes_while_the_last_one_is_worked_on(overlap: str, waiting: int, outcome: str) -> None:
    found = decided(a_task(settings={"overlap": overlap}), unfinished=[a_run() for _ in range(waiting)])

    assert slots(found) == [("01 13:00", outcome)]
    assert found.next_run_at == SINCE + 2 * HOUR


def test_the_previous_run_is_stopped_first_and_the_slot_fired_then() -> None:
    task, asked, going = a_task(settings={"overlap": "cancel_previous"}), a_run(is_cancelled=True), a_run()

    assert decided(task, unfinished=[asked, going]) == Decision(cancels=(going.run_id,))
    assert slots(decided(task, unfinished=[asked])) == [("01 13:00", "fired")]


def before(task: Task, *states: RunState) -> list[Fired]:
    """Slots that were fired before, the newest first."""
    return [Fired(SINCE + (len(states) - n) * HOUR, digest_of(task), state) for n, state in enumerate(states)]


@pytest.mark.parametrize(
    ("states", "change", "outcome"),
    [
        pytest.param([COMPLETED], {}, "unchanged", id="the-same"),
        pytest.param([FAILED, COMPLETED], {}, "unchanged", id="the-same-as-when-it-was-done-last"),
        pytest.param([FAILED], {}, "fired", id="the-same-but-never-done"),
        pytest.param([], {}, "fired", id="never-fired"),
        pytest.param([COMPLETED], {"prompt": "look again"}, "fired", id="another-prompt"),
        pytest.param([COMPLETED], {"context_data": {"disks": []}}, "fired", id="other-context"),
        pytest.param([COMPLETED], {"agent": "echo"}, "fired", id="another-agent"),
        pytest.param([COMPLETED], {"notification_config": {}}, "unchanged", id="what-the-agent-is-not-told"),
    ],
)
def test_a_checklist_that_is_unchanged_is_left_out_where_that_is_wanted(
    states: list[RunState], change: dict[str, object], outcome: str
) -> None:
    task = a_task(settings={"skip_unchanged": True})

    found = decided(replace(task, **change), due=SINCE + 5 * HOUR, fired=before(task, *states))  # type: ignore[arg-type]

    assert slots(found) == [("01 17:00", outcome)]


def test_a_checklist_is_fired_unchanged_where_nothing_else_is_said() -> None:
    task = a_task(TaskType.HEARTBEAT)

    assert slots(decided(task, due=SINCE + 2 * HOUR, fired=before(task, COMPLETED))) == [("01 14:00", "fired")]


@pytest.mark.parametrize(
    ("states", "outcome", "hours"),
    [
        pytest.param([FAILED], "backoff", 2, id="one-slot-is-left-out-behind-a-failure"),
        pytest.param([FAILED, FAILED, COMPLETED], "backoff", 4, id="three-behind-two"),
        pytest.param([FAILED] * 10, "backoff", 24, id="a-day-at-most"),
        pytest.param([INTERRUPTED, FAILED, FAILED], "backoff", 4, id="who-stops-a-run-changes-nothing"),
        pytest.param([COMPLETED, FAILED, FAILED], "fired", 0, id="none-behind-a-success"),
        pytest.param([INTERRUPTED], "fired", 0, id="none-behind-one-that-was-stopped"),
    ],
)
def test_a_heartbeat_that_fails_is_held_back(states: list[RunState], outcome: str, hours: int) -> None:
    task = a_task(TaskType.HEARTBEAT)
    fired = before(task, *states)
    last_failed = next((one.at for one in fired if one.state is FAILED), SINCE)

    found = decided(task, due=fired[0].at + HOUR, fired=fired)

    assert [slot.outcome.value for slot in found.slots] == [outcome]
    assert found.next_run_at == (last_failed + hours * HOUR if outcome == "backoff" else fired[0].at + 2 * HOUR)


def test_what_is_held_back_is_fired_when_its_time_has_come() -> None:
    task = a_task(TaskType.HEARTBEAT)

    found = decided(task, due=SINCE + 3 * HOUR, fired=before(task, FAILED))

    assert slots(found) == [("01 15:00", "fired")]


def test_a_scheduled_task_that_fails_is_not_held_back() -> None:
    task = a_task(TaskType.SCHEDULED)

    assert slots(decided(task, due=SINCE + 2 * HOUR, fired=before(task, FAILED))) == [("01 14:00", "fired")]


JUMPS = st.timedeltas(-timedelta(hours=5), timedelta(hours=5))


@given(
    expression=st.sampled_from(["every 7m", "*/10 * * * *", "30 * * * *"]),
    misfire=st.sampled_from(["fire_once", "skip", "fire_all"]),
    jumps=st.lists(JUMPS, max_size=12),
)
def test_a_clock_that_jumps_fires_no_slot_twice(expression: str, misfire: str, jumps: list[timedelta]) -> None:
    task = a_task(expression=expression, settings={"misfire": misfire, "overlap": "queue"})
    schedule = schedule_of(task)
    now, due, fired = SINCE, schedule.next_after(SINCE), []
    for jump in jumps:
        now += jump
        while due is not None and due <= now:
            found = decide(task, schedule, due=due, now=now, beside=Beside())
            fired += [slot.at for slot in found.slots if slot.outcome is SlotOutcome.FIRED]
            due = found.next_run_at

    assert len(fired) == len(set(fired))
    assert fired == sorted(fired)
