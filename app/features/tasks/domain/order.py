"""What the run of a task is told: the prompt, in whose name, and what began it. Never the caller's token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from app.features.runs.domain.agent_work import OrderUnreadable, authority_of
from app.features.tasks.domain.task import Task, TaskType
from app.features.tasks.domain.verdict import instructed
from app.infra.durable.ports import Job
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.ids import TaskId
from app.kernel.values import Json

EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """`extra` is what the trigger knows, for the handlers of its type."""

    task_id: TaskId
    task_type: TaskType
    prompt: str
    authority: Authority
    context: Mapping[str, Json] = field(default_factory=dict)
    request_id: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Job) -> Self:
        """Errors: OrderUnreadable, for what this version has not written."""
        match job.input:
            case {"task_id": str(task_id), "task_type": str(type_), "prompt": str(prompt), "context_data": context}:
                pass
            case _:
                raise OrderUnreadable
        request_id, extra = job.input.get("request_id"), job.input.get(EXTRA)
        try:
            return cls(
                TaskId(UUID(task_id)),
                TaskType(type_),
                prompt,
                authority_of(job),
                context if isinstance(context, Mapping) else {},
                request_id if isinstance(request_id, str) else "",
                extra if isinstance(extra, Mapping) else {},
            )
        except ValueError as error:
            raise OrderUnreadable from error


def input_of(
    task: Task, *, prompt: str, authority: Authority, request_id: str, extra: Mapping[str, Json] | None
) -> dict[str, Json]:
    """Write the same down."""
    return {
        "task_id": str(task.id),
        "task_type": task.task_type.value,
        "prompt": prompt,
        INPUT_KEY: authority.as_json(),
        "context_data": task.context_data,
        "request_id": request_id,
        **({EXTRA: extra} if extra else {}),
    }


def told(order: TaskOrder) -> str:
    """What the agent is asked: the prompt, and to a heartbeat how it is to answer."""
    return instructed(order.prompt) if order.task_type is TaskType.HEARTBEAT else order.prompt
