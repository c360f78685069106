"""Remember of tasks that the rights they were made with were withdrawn."""

from dataclasses import dataclass

import structlog

from app.features.tasks.ports import TaskStore
from app.kernel.errors import Unavailable
from app.kernel.transaction import Begin

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WithdrawTasks:
    """Mark the tasks whose authority was withdrawn; to be called again and again.

    A withdrawal is forgotten when the last token it means has expired. A task holds no token and lives for longer: one
    that was not marked by then would run again as if nothing had been.
    """

    begin: Begin
    tasks: TaskStore

    async def __call__(self) -> None:
        try:
            async with self.begin() as tx:
                count = await self.tasks.withdraw(tx)
        except Unavailable as fault:
            log.warning("tasks.not_withdrawn", **fault.evidence)
            return
        if count:
            log.info("tasks.withdrawn", count=count)
