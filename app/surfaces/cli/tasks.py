"""`portico tasks`: which tasks there are and how they stand; and retention of what ran of them, by hand."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

import msgspec

from app.features.tasks.domain.task import Task, TaskFilter
from app.features.tasks.repository.tasks import PostgresTaskStore
from app.features.tasks.schemas import TaskOut
from app.infra.db.engine import Database
from app.infra.durable import retention
from app.kernel.paging import MAX_PAGE_SIZE, ListQuery
from app.settings import find_config, load_dotenv, read_settings
from app.surfaces.cli.database import opened

PROMPT_CHARS = 40
HEADINGS = ("ID", "TYPE", "STATE", "LAST RUN", "NEXT RUN", "OWNER", "PROMPT")


async def show(limit: int, *, as_json: bool) -> None:
    """Print the newest tasks, everybody's."""
    tasks: list[Task] = []
    async with _database() as database:
        while len(tasks) < limit:
            size = min(MAX_PAGE_SIZE, limit - len(tasks))
            async with database.begin() as tx:
                page = await PostgresTaskStore().list(tx, ListQuery(limit=size, offset=len(tasks)), only=TaskFilter())
            tasks += page.items
            if len(page.items) < size:
                break
    if as_json:
        print(msgspec.json.encode([TaskOut.of(task) for task in tasks]).decode())
        return
    rows = [HEADINGS, *map(_row, tasks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


async def forget(days: int) -> None:
    async with _database() as database:
        found = await retention.forget_runs_of_tasks(database, older_than=timedelta(days=days))
    print(f"deleted {found} runs of tasks")


async def count_forgettable(days: int) -> None:
    async with _database() as database:
        found = await retention.count_runs_of_tasks(database, older_than=timedelta(days=days))
    print(f"would delete {found} runs of tasks")


def _database() -> AbstractAsyncContextManager[Database]:
    load_dotenv()
    return opened(read_settings(find_config()))


def _row(task: Task) -> tuple[str, ...]:
    line = " ".join(task.prompt.split())
    return (
        str(task.id),
        task.task_type.value,
        _state(task),
        f"{_moment(task.last_run_at)}" + (f" {task.last_status.value}" if task.last_status else ""),
        _moment(task.next_run_at),
        task.owner,
        line if len(line) <= PROMPT_CHARS else line[: PROMPT_CHARS - 3] + "...",
    )


def _state(task: Task) -> str:
    if task.withdrawn_at is not None:
        return "withdrawn"
    if task.blocked_by:
        return "blocked"
    return "enabled" if task.enabled else "disabled"


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%SZ}"
