"""What a task is, who may touch it, and what its fields may hold.

What lives here: what every type of task has. What only one type has is a module of its own, whose problems are asked
for in `NewTask.problems` and `TaskChange.problems`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.features.notifications.domain.config import ANYWHERE, config_problems
from app.features.tasks.domain.research import settings_problems
from app.features.tasks.domain.trigger import trigger_problems
from app.infra.durable.ports import RunState
from app.kernel.authority import Authority
from app.kernel.errors import Conflict, FieldError, Forbidden, NotFound
from app.kernel.identity import Principal
from app.kernel.ids import RunId, TaskId, UserId
from app.kernel.storable import json_problem, text_problem
from app.kernel.values import KEPT, Json, Kept

KIND = "task"
"""of a task's runs"""
PROMPT_LIMIT_CHARS = 20_000
"""it is in every run's input, beside the context: 256 KB hold both"""
CONTEXT_LIMIT_BYTES = 32 * 1024
CONFIG_LIMIT_BYTES = 16 * 1024
EXPRESSION_LIMIT_CHARS = 255
TIMEZONE_LIMIT_CHARS = 64
MAX_DEPENDENCIES = 20
MAX_WAITING = 20
"""runs of one task that people may have asked for, and that are not over"""


class TaskType(StrEnum):
    DELEGATION = "delegation"
    SCHEDULED = "scheduled"
    TRIGGERED = "triggered"
    RESEARCH = "research"
    HEARTBEAT = "heartbeat"

    @property
    def begins_by_itself(self) -> bool:
        """Whether it runs once when it is made, or when what it depends on is done."""
        return self in {TaskType.DELEGATION, TaskType.RESEARCH}

    @property
    def is_planned(self) -> bool:
        """Whether it runs when its schedule says so."""
        return self in {TaskType.SCHEDULED, TaskType.HEARTBEAT}


class Trigger(StrEnum):
    """Why a run of a task was begun."""

    DELEGATION = "delegation"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    RESEARCH = "research"
    HEARTBEAT = "heartbeat"
    MANUAL = "manual"


BY_ITSELF: Mapping[TaskType, Trigger] = {
    TaskType.DELEGATION: Trigger.DELEGATION,
    TaskType.RESEARCH: Trigger.RESEARCH,
}


@dataclass(frozen=True, slots=True)
class Task:
    """Work for an agent, in its owner's name. `agent` is None for whichever is the default when it runs.

    `authority` is in whose name: what the owner might when the task was made, or last changed by the owner.
    `schedule` is what `schedule_expression` means, and `settings` are options of its type, both as its type keeps them.
    `last_run_id` and `last_status` are of the run that ended last; `blocked_by` are those it depends on that failed.
    `withdrawn_at` is when it was found that `authority` stands no more.
    """

    id: TaskId
    owner: UserId
    task_type: TaskType
    prompt: str
    agent: str | None
    enabled: bool
    authority: Authority
    created_at: datetime
    updated_at: datetime
    schedule_expression: str | None = None
    timezone: str | None = None
    schedule: Mapping[str, Json] | None = None
    next_run_at: datetime | None = None
    last_run_at: datetime | None = None
    last_run_id: RunId | None = None
    last_status: RunState | None = None
    trigger_config: Mapping[str, Json] | None = None
    notification_config: Mapping[str, Json] | None = None
    settings: Mapping[str, Json] | None = None
    context_data: Mapping[str, Json] = field(default_factory=dict)
    depends_on: tuple[TaskId, ...] = ()
    blocked_by: tuple[TaskId, ...] = ()
    batch_id: UUID | None = None
    withdrawn_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewTask:
    owner: UserId
    task_type: TaskType
    prompt: str
    agent: str | None = None
    schedule_expression: str | None = None
    timezone: str | None = None
    trigger_config: Mapping[str, Json] | None = None
    notification_config: Mapping[str, Json] | None = None
    settings: Mapping[str, Json] | None = None
    context_data: Mapping[str, Json] = field(default_factory=dict)
    depends_on: tuple[TaskId, ...] = ()

    def problems(self) -> list[FieldError]:
        """List every field that cannot be stored, or does not belong to a task of this type."""
        return [
            *prompt_problems(self.prompt),
            *_expression_problems(self.task_type, self.schedule_expression, self.timezone),
            *_config_problems("trigger_config", self.trigger_config),
            *_webhook_problems(self.task_type, self.trigger_config),
            *_notification_problems(self.notification_config),
            *_config_problems("settings", self.settings),
            *(settings_problems(self.settings) if self.task_type is TaskType.RESEARCH else ()),
            *context_problems(self.context_data),
            *_dependency_problems(self.task_type, self.depends_on),
        ]


@dataclass(frozen=True, slots=True)
class TaskChange:
    """What is KEPT stays. The type of a task and what it depends on are what it was made with."""

    prompt: str | Kept = KEPT
    agent: str | Kept | None = KEPT
    schedule_expression: str | Kept | None = KEPT
    timezone: str | Kept | None = KEPT
    trigger_config: Mapping[str, Json] | Kept | None = KEPT
    notification_config: Mapping[str, Json] | Kept | None = KEPT
    settings: Mapping[str, Json] | Kept | None = KEPT
    context_data: Mapping[str, Json] | Kept = KEPT
    enabled: bool | Kept = KEPT

    def problems(self, task: Task) -> list[FieldError]:
        """List what cannot be, of the task as it will be."""
        after = self.applied_to(task)
        return [one for one in after.problems() if one.field != "depends_on"]

    def applied_to(self, task: Task) -> NewTask:
        """Say what the task would be made with if it were made now."""
        return NewTask(
            owner=task.owner,
            task_type=task.task_type,
            prompt=task.prompt if self.prompt is KEPT else self.prompt,
            agent=task.agent if self.agent is KEPT else self.agent,
            schedule_expression=task.schedule_expression
            if self.schedule_expression is KEPT
            else self.schedule_expression,
            timezone=task.timezone if self.timezone is KEPT else self.timezone,
            trigger_config=task.trigger_config if self.trigger_config is KEPT else self.trigger_config,
            notification_config=task.notification_config
            if self.notification_config is KEPT
            else self.notification_config,
            settings=task.settings if self.settings is KEPT else self.settings,
            context_data=task.context_data if self.context_data is KEPT else self.context_data,
        )


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """None takes all; `owner` None everybody's."""

    owner: UserId | None = None
    task_type: TaskType | None = None
    enabled: bool | None = None
    ids: tuple[TaskId, ...] | None = None


class TaskNotFound(NotFound):
    type = "task-not-found"
    title = "There is no such task"


class TaskBusy(Conflict):
    type = "task-busy"
    title = "Too many runs of the task wait already"


class AuthorityWithdrawn(Forbidden):
    type = "authority-withdrawn"
    title = "Its owner's rights were withdrawn"


def may_touch(who: Principal, task: Task) -> bool:
    return who.is_admin or task.owner == who.user_id


def lane_of(task_id: TaskId) -> str:
    return f"task:{task_id}"


def prompt_problems(prompt: str) -> list[FieldError]:
    problem = text_problem(prompt, at_least=1, at_most=PROMPT_LIMIT_CHARS)
    return [FieldError("prompt", problem)] if problem else []


def context_problems(context: Mapping[str, Json]) -> list[FieldError]:
    problem = json_problem(context, limit_bytes=CONTEXT_LIMIT_BYTES)
    return [FieldError("context_data", problem)] if problem else []


def _notification_problems(config: Mapping[str, Json] | None) -> list[FieldError]:
    """Tell what holds everywhere; whether a channel is set up here is asked where it is known."""
    name = "notification_config"
    return _config_problems(name, config) or config_problems(config or {}, ANYWHERE, at=name)


def _config_problems(name: str, config: Mapping[str, Json] | None) -> list[FieldError]:
    problem = None if config is None else json_problem(config, limit_bytes=CONFIG_LIMIT_BYTES)
    return [FieldError(name, problem)] if problem else []


def _webhook_problems(type_: TaskType, config: Mapping[str, Json] | None) -> list[FieldError]:
    if type_ is TaskType.TRIGGERED:
        return trigger_problems(config)
    return [] if config is None else [FieldError("trigger_config", "goes with a triggered task")]


def _expression_problems(type_: TaskType, expression: str | None, timezone: str | None) -> list[FieldError]:
    given = {"schedule_expression": (expression, EXPRESSION_LIMIT_CHARS), "timezone": (timezone, TIMEZONE_LIMIT_CHARS)}
    problems = []
    for name, (value, limit) in given.items():
        problem = None if value is None else text_problem(value, at_least=1, at_most=limit)
        if problem:
            problems.append(FieldError(name, problem))
    if type_.is_planned and expression is None:
        problems.append(FieldError("schedule_expression", f"must say when a {type_} task is to run"))
    if not type_.is_planned and expression is not None:
        problems.append(FieldError("schedule_expression", "goes with scheduled and heartbeat tasks"))
    return problems


def _dependency_problems(type_: TaskType, depends_on: tuple[TaskId, ...]) -> list[FieldError]:
    if len(depends_on) > MAX_DEPENDENCIES:
        return [FieldError("depends_on", f"must name at most {MAX_DEPENDENCIES} tasks")]
    if depends_on and not type_.begins_by_itself:
        return [FieldError("depends_on", "must be empty: only delegation and research begin when others are done")]
    return []
