"""What a run is to the person it works for, and who may touch it."""

from dataclasses import dataclass, field
from datetime import datetime

from app.infra.durable.ports import RunError, RunState
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, RunId, TaskId, UserId


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What was spent; `cost` in USD as text, None where a price is not known."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    tool_calls: int = 0
    cost: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """`answer` is what a run outside of a chat came to; a chat keeps its own."""

    id: RunId
    owner: UserId
    chat_id: ChatId | None
    task_id: TaskId | None
    agent: str | None
    trigger: str
    status: RunState
    error: RunError | None
    rerun_of: RunId | None
    scheduled_for: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    usage: RunUsage = field(default_factory=RunUsage)
    answer: str | None = None


def may_touch(who: Principal, run: Run) -> bool:
    return who.is_admin or run.owner == who.user_id


def path_of(run_id: RunId) -> str:
    """Where a client finds it."""
    return f"/api/v1/runs/{run_id}"
