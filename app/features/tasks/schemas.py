"""What clients send and get about tasks; interface contracts, field by field.

Rule: what may be stored is decided by the domain; here are shapes, and the lengths a client may want to know.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self, cast
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from app.features.runs.schemas import RunOut
from app.features.tasks.domain.batch import MAX_TASKS, Batch
from app.features.tasks.domain.curl import curl_line
from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import (
    EXPRESSION_LIMIT_CHARS,
    PROMPT_LIMIT_CHARS,
    TIMEZONE_LIMIT_CHARS,
    NewTask,
    Task,
    TaskChange,
    TaskType,
)
from app.features.tasks.domain.trigger import TriggerConfig
from app.features.tasks.domain.webhook import MAX_OVERLAP_S, MAX_SECRET_CHARS, OVERLAP_S
from app.features.tasks.use_cases.add_task import Made
from app.features.tasks.use_cases.list_reports import Report
from app.features.tasks.use_cases.rotate_secret import Rotation
from app.features.tasks.use_cases.take_delivery import Intake
from app.infra.durable.ports import RunState
from app.kernel.ids import TaskId, UserId
from app.kernel.paging import Page
from app.kernel.values import KEPT, Json

type Prompt = Annotated[str, Meta(min_length=1, max_length=PROMPT_LIMIT_CHARS)]
type Expression = Annotated[str, Meta(min_length=1, max_length=EXPRESSION_LIMIT_CHARS)]
type Timezone = Annotated[str, Meta(min_length=1, max_length=TIMEZONE_LIMIT_CHARS)]
type Config = dict[str, object]


class TaskOut(Struct, frozen=True, kw_only=True):
    """`last_*` are of the run that ended last. `blocked_by` names those of `depends_on` whose last run failed."""

    id: str
    user_id: str
    task_type: TaskType
    prompt: str
    agent: str | None
    enabled: bool
    schedule_expression: str | None
    timezone: str | None
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_run_id: str | None
    last_status: RunState | None
    trigger_config: Config | None
    notification_config: Config | None
    settings: Config | None
    context_data: Config
    depends_on: Sequence[str]
    blocked_by: Sequence[str]
    batch_id: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, task: Task) -> Self:
        return cls(
            id=str(task.id),
            user_id=task.owner,
            task_type=task.task_type,
            prompt=task.prompt,
            agent=task.agent,
            enabled=task.enabled,
            schedule_expression=task.schedule_expression,
            timezone=task.timezone,
            next_run_at=task.next_run_at,
            last_run_at=task.last_run_at,
            last_run_id=None if task.last_run_id is None else str(task.last_run_id),
            last_status=task.last_status,
            trigger_config=_shown(task.trigger_config),
            notification_config=_shown(task.notification_config),
            settings=_shown(task.settings),
            context_data=dict(task.context_data),
            depends_on=[str(one) for one in task.depends_on],
            blocked_by=[str(one) for one in task.blocked_by],
            batch_id=None if task.batch_id is None else str(task.batch_id),
            created_at=task.created_at,
            updated_at=task.updated_at,
            deleted_at=task.deleted_at,
        )


class TaskMade(TaskOut, frozen=True, kw_only=True):
    """A task as the answer that creates it tells of it. `run_id` is the run it began with, if it did.

    Of a triggered task `webhook_secret` is told here and nowhere else; `curl` delivers something once it is pasted.
    """

    run_id: str | None = None
    webhook_secret: str | None = None
    webhook_url: str | None = None
    curl: str | None = None

    @classmethod
    def made(cls, made: Made, *, front_url: str) -> Self:
        shown = None if made.secret is None else SecretShown.of(made.task, made.secret, front_url=front_url)
        return cls(
            **structs.asdict(TaskOut.of(made.task)),
            run_id=None if made.run_id is None else str(made.run_id),
            webhook_secret=None if shown is None else shown.webhook_secret,
            webhook_url=None if shown is None else shown.webhook_url,
            curl=None if shown is None else shown.curl,
        )


class SecretShown(Struct, frozen=True, kw_only=True):
    """A webhook's secret, and a line that delivers something with it; shown once."""

    webhook_secret: str
    webhook_url: str
    curl: str
    former_holds_until: datetime | None = None

    @classmethod
    def of(cls, task: Task, secret: str, *, front_url: str, former_holds_until: datetime | None = None) -> Self:
        url = f"{front_url}/api/v1/tasks/webhooks/{task.id}"
        line = curl_line(url, TriggerConfig.of(task.trigger_config).scheme, secret)
        return cls(webhook_secret=secret, webhook_url=url, curl=line, former_holds_until=former_holds_until)


class RotationIn(Struct, frozen=True, forbid_unknown_fields=True):
    """`secret` is one that was made elsewhere; the one before holds for `overlap_s` seconds more."""

    secret: Annotated[str, Meta(max_length=MAX_SECRET_CHARS)] | None = None
    overlap_s: Annotated[int, Meta(ge=0, le=MAX_OVERLAP_S)] = OVERLAP_S

    def rotation(self) -> Rotation:
        return Rotation(self.secret, self.overlap_s)


class DeliveryTaken(Struct, frozen=True, omit_defaults=True):
    """A run, or why there is none; and the places of the prompt at which nothing stood in the payload."""

    run_id: str | None = None
    skipped: str | None = None
    unknown_paths: Sequence[str] = ()

    @classmethod
    def of(cls, intake: Intake) -> Self:
        run_id = None if intake.run_id is None else str(intake.run_id)
        return cls(run_id, intake.skipped, intake.unknown)


class TaskPageOut(Struct, frozen=True):
    items: Sequence[TaskOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Task]) -> Self:
        return cls([TaskOut.of(task) for task in page.items], page.total, page.limit, page.offset)


class TaskRunsOut(Struct, frozen=True):
    items: Sequence[RunOut]
    total: int
    limit: int
    offset: int


class ReportOut(Struct, frozen=True, kw_only=True):
    """What a run came to. `severity` is null while it is not over. A heartbeat's answer is read as the verdict that it
    was asked for; `is_structured` is whether it was one. Of a run that has nothing to say nobody is told.
    """

    run_id: str
    trigger: str
    status: RunState
    scheduled_for: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    severity: Severity | None
    summary: str
    findings: Sequence[str]
    has_something_to_say: bool
    is_structured: bool
    answer: str | None

    @classmethod
    def of(cls, report: Report) -> Self:
        run, verdict = report.run, report.verdict
        return cls(
            run_id=str(run.id),
            trigger=run.trigger,
            status=run.status,
            scheduled_for=run.scheduled_for,
            started_at=run.started_at,
            finished_at=run.finished_at,
            severity=None if verdict is None else verdict.severity,
            summary="" if verdict is None else verdict.summary,
            findings=() if verdict is None else verdict.findings,
            has_something_to_say=verdict is not None and verdict.has_something_to_say,
            is_structured=verdict is not None and verdict.is_structured,
            answer=run.answer,
        )


class TaskReportsOut(Struct, frozen=True):
    items: Sequence[ReportOut]
    total: int
    limit: int
    offset: int


class TaskCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """`context_data` is shown to the agent in every run, beside the prompt."""

    task_type: TaskType
    prompt: Prompt
    agent: str | None = None
    schedule_expression: Expression | None = None
    timezone: Timezone | None = None
    trigger_config: Config | None = None
    notification_config: Config | None = None
    settings: Config | None = None
    context_data: Config = {}
    depends_on: Sequence[UUID] = ()

    def draft(self, *, creator: UserId) -> NewTask:
        return NewTask(
            owner=creator,
            task_type=self.task_type,
            prompt=self.prompt,
            agent=self.agent,
            schedule_expression=self.schedule_expression,
            timezone=self.timezone,
            trigger_config=_json(self.trigger_config),
            notification_config=_json(self.notification_config),
            settings=_json(self.settings),
            context_data=_json(self.context_data) or {},
            depends_on=tuple(TaskId(one) for one in dict.fromkeys(self.depends_on)),
        )


class BatchCreate(Struct, frozen=True, forbid_unknown_fields=True):
    tasks: Annotated[Sequence[TaskCreate], Meta(min_length=1, max_length=MAX_TASKS)]


class BatchedOut(Struct, frozen=True):
    """A task of a batch; `status` is that of its newest run, `not_begun` where there is none."""

    task_id: str
    status: str
    run_id: str | None


class BatchOut(Struct, frozen=True, kw_only=True):
    """`counts` has the number of tasks in each status, those with none of them too."""

    id: str
    user_id: str
    total: int
    counts: Mapping[str, int]
    tasks: Sequence[BatchedOut]

    @classmethod
    def of(cls, batch: Batch) -> Self:
        tasks = [BatchedOut(str(task.id), batch.state_of(task), _run_of(batch, task)) for task in batch.tasks]
        return cls(id=str(batch.id), user_id=batch.owner, total=len(tasks), counts=batch.counts, tasks=tasks)


class TaskUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """What is not named stays; null empties a field, and gives the task back to the default agent."""

    prompt: Prompt | UnsetType = UNSET
    agent: str | UnsetType | None = UNSET
    schedule_expression: Expression | UnsetType | None = UNSET
    timezone: Timezone | UnsetType | None = UNSET
    trigger_config: Config | UnsetType | None = UNSET
    notification_config: Config | UnsetType | None = UNSET
    settings: Config | UnsetType | None = UNSET
    context_data: Config | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def change(self) -> TaskChange:
        return TaskChange(
            prompt=KEPT if self.prompt is UNSET else self.prompt,
            agent=KEPT if self.agent is UNSET else self.agent,
            schedule_expression=KEPT if self.schedule_expression is UNSET else self.schedule_expression,
            timezone=KEPT if self.timezone is UNSET else self.timezone,
            trigger_config=KEPT if self.trigger_config is UNSET else _json(self.trigger_config),
            notification_config=KEPT if self.notification_config is UNSET else _json(self.notification_config),
            settings=KEPT if self.settings is UNSET else _json(self.settings),
            context_data=KEPT if self.context_data is UNSET else _json(self.context_data) or {},
            enabled=KEPT if self.enabled is UNSET else self.enabled,
        )


def _run_of(batch: Batch, task: Task) -> str | None:
    run = batch.newest.get(task.id)
    return None if run is None else str(run.id)


def _shown(value: Mapping[str, Json] | None) -> Config | None:
    return None if value is None else dict(value)


def _json(value: Config | None) -> Mapping[str, Json] | None:
    return cast("Mapping[str, Json] | None", value)
