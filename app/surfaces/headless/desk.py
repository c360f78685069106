"""What a program asks of agents when it is the whole system: begin a run, hear it, stop it, and what became of it.

The run is a task's, as one that is created over HTTP, and is worked on by this very process.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from app.features.notifications.domain.news import Delivery, DeliveryState
from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.cancel_run import CancelRun
from app.features.runs.use_cases.read_answer import read_answer
from app.features.tasks.domain.task import NewTask, TaskType
from app.features.tasks.use_cases.create_task import CreateTask
from app.infra.durable.ports import CHILDREN, RunError, RunNotFound, RunState
from app.infra.events.ports import LAST_WORDS, EventLog, EventType, ReaderTooSlow, RunEvent
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin
from app.kernel.values import Json

OWNER = "headless"
DELIVERY_S = 30.0
"""how long what is to be told of a run is waited for; what takes longer goes on with the next start"""
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of a run: `text` is what was answered, as far as it came.

    `status` is `completed`, `failed` or `interrupted`; or `waiting`, where it needs a person before it can go on.
    """

    run_id: RunId
    status: RunState
    text: str
    agent: str | None
    error: RunError | None
    input_tokens: int
    output_tokens: int
    cost: str | None

    @property
    def is_completed(self) -> bool:
        return self.status is RunState.COMPLETED


class Deliveries(Protocol):
    """How what is told of a run is on its way (`ReadDeliveries`)."""

    async def __call__(self, run_id: RunId) -> Sequence[Delivery]: ...


@dataclass(frozen=True, slots=True)
class HeadlessDesk:
    """Concurrency: any number of runs at once."""

    who: Principal
    begin: Begin
    create: CreateTask
    runs: RunStore
    log: EventLog
    cancel_run: CancelRun
    deliveries: Deliveries

    async def ask(
        self,
        prompt: str,
        *,
        agent: str | None = None,
        context: Mapping[str, Json] | None = None,
        notify: Mapping[str, Json] | None = None,
    ) -> RunId:
        """Begin a run; from then on it is kept, and ends some day even if this process does not live to see it.

        Errors: ValidationFailed.
        """
        draft = NewTask(
            self.who.user_id,
            TaskType.DELEGATION,
            prompt,
            agent=agent,
            context_data=context or {},
            notification_config=notify,
        )
        made = await self.create(self.who, draft)
        if made.run_id is None:
            raise RuntimeError("a delegated task that waits for nothing has not begun")
        return made.run_id

    async def left(self) -> Sequence[Run]:
        """Tell which runs of earlier starts are not over; this process works on them."""
        async with self.begin() as tx:
            return await self.runs.unfinished_of_owner(tx, self.who.user_id)

    async def follow(self, run_id: RunId) -> AsyncGenerator[RunEvent]:
        """Yield a run's events, those it said before first, to its last; or until it waits for a person."""
        seq = 0
        while True:
            try:
                async with aclosing(self.log.follow(run_id, after=seq)) as events:
                    async for event in events:
                        seq = event.seq
                        yield event
                        if await self._is_end(event):
                            return
            except ReaderTooSlow:
                continue
            return

    async def cancel(self, run_id: RunId, *, reason: str) -> None:
        await self.cancel_run(self.who, run_id, reason=reason)

    async def result(self, run_id: RunId) -> RunResult:
        """Errors: RunNotFound."""
        async with self.begin() as tx:
            run = await self.runs.find(tx, run_id)
            if run is None:
                raise RunNotFound
            text = await read_answer(self.runs, tx, run_id)
        usage = run.usage
        return RunResult(
            run_id, run.status, text, run.agent, run.error, usage.input_tokens, usage.output_tokens, usage.cost
        )

    async def delivered(self, run_id: RunId, *, within_s: float = DELIVERY_S) -> Sequence[Delivery]:
        """Wait until nothing that is told of a run is on its way any more; give what did not arrive, and why.

        What is still on its way after so long is tried again by whoever opens the folder next.
        """
        end_s = time.monotonic() + within_s
        while True:
            late = [one for one in await self.deliveries(run_id) if one.state is not DeliveryState.DELIVERED]
            if time.monotonic() >= end_s or not any(one.state is DeliveryState.PENDING for one in late):
                return late
            await asyncio.sleep(LOOK_S)

    async def _is_end(self, event: RunEvent) -> bool:
        """Tell also of a run that waits now: that it said so may be long ago."""
        if event.type is not EventType.RUN_WAITING or event.data.get("for") == CHILDREN:
            return event.type in LAST_WORDS
        async with self.begin() as tx:
            run = await self.runs.find(tx, event.run_id)
        return run is not None and run.status is RunState.WAITING
