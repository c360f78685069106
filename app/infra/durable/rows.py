"""From a row of `runs` to what handlers are told of it."""

from typing import Any

from sqlalchemy import Row

from app.infra.durable.ports import Job
from app.kernel.ids import ChatId, RunId, TaskId, UserId


def job_of(row: Row[Any], *, version: str) -> Job:  # Any: the columns, which have no type of their own
    """`version` is the one of a run that was not begun yet."""
    return Job(
        id=RunId(row.id),
        kind=row.kind,
        owner=UserId(row.owner),
        trigger=row.trigger,
        input=row.input,
        lane=row.lane,
        chat_id=None if row.chat_id is None else ChatId(row.chat_id),
        agent=row.agent,
        attempt=row.failures + 1,
        epoch=row.epoch,
        code_version=row.code_version or version,
        task_id=None if row.task_id is None else TaskId(row.task_id),
        parent_id=None if row.parent_id is None else RunId(row.parent_id),
    )
