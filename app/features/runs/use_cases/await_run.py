"""Wait for the end of a run."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from app.features.runs.domain.agent_work import AGENT_FAILURES
from app.features.runs.domain.run import path_of
from app.features.runs.ports import RunStore
from app.infra.durable.ports import CHILDREN, RunState
from app.infra.events.ports import LAST_WORDS, EventLog, EventType, ReaderTooSlow, RunEvent
from app.kernel.errors import Conflict, Fault
from app.kernel.ids import RunId
from app.kernel.transaction import Begin
from app.kernel.values import Json

TIMEOUT_S = 60


class RunBroken(Fault):
    """The run failed of something that is no fact of an agent's; its error says what was written down."""

    type = "run-broken"
    title = "The run could not be finished"


class RunStopped(Conflict):
    type = "run-stopped"
    title = "The run was stopped before it was done"


@dataclass(frozen=True, slots=True)
class Failures:
    """What ends of runs are told as: failures by their type, and what is said of one that was stopped."""

    known: Sequence[type[Fault]] = AGENT_FAILURES
    stopped: type[Fault] = RunStopped

    def of(self, last: RunEvent) -> tuple[type[Fault], str]:
        if last.type is EventType.RUN_INTERRUPTED:
            return self.stopped, _sentence(last.data.get("reason"))
        error = last.data.get("error")
        told = error if isinstance(error, Mapping) else {}
        by_type = {fault.type: fault for fault in self.known}
        return by_type.get(str(told.get("type")), RunBroken), str(told.get("detail", ""))


@dataclass(frozen=True, slots=True)
class AwaitRun:
    """Tell whether a run was completed in time; False also where it waits for a person.

    Holds no connection and no transaction while it waits: it follows the run's events like any other reader.
    Errors: what ended the run otherwise; StorageUnavailable.
    """

    begin: Begin
    runs: RunStore
    log: EventLog

    async def __call__(self, run_id: RunId, *, timeout_s: float = TIMEOUT_S, failures: Failures | None = None) -> bool:
        end = _End()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while end.last is None and not end.is_waiting:
                    await self._follow(run_id, end)
        if end.last is None:
            return False
        end.raise_failure(run_id, failures or Failures())
        return True

    async def _follow(self, run_id: RunId, end: "_End") -> None:
        with suppress(ReaderTooSlow):  # it goes on behind the last event that was taken
            async with aclosing(self.log.follow(run_id, after=end.seq)) as events:
                async for event in events:
                    end.take(event)
                    if _is_for_a_person(event) and await self._waits(run_id):
                        end.is_waiting = True
                        return

    async def _waits(self, run_id: RunId) -> bool:
        """Tell whether a run waits now: what it said of that may be long ago."""
        async with self.begin() as tx:
            run = await self.runs.find(tx, run_id)
        return run is not None and run.status is RunState.WAITING


def _is_for_a_person(event: RunEvent) -> bool:
    return event.type is EventType.RUN_WAITING and event.data.get("for") != CHILDREN


@dataclass(slots=True)
class _End:
    """What was heard of a run that matters when it is over."""

    seq: int = 0
    last: RunEvent | None = None
    is_waiting: bool = False
    _retry_after: str = ""

    def take(self, event: RunEvent) -> None:
        self.seq = event.seq
        if event.type in LAST_WORDS:
            self.last = event
        elif event.type is EventType.RUN_PROGRESS and "retry_after" in event.data:
            self._retry_after = str(event.data["retry_after"])

    def raise_failure(self, run_id: RunId, failures: Failures) -> None:
        """Errors: the fault that ended the run, which names it."""
        if self.last is None or self.last.type is EventType.RUN_COMPLETED:
            return
        fault, detail = failures.of(self.last)
        headers = {"location": path_of(run_id)}
        if self._retry_after:
            headers["retry-after"] = self._retry_after
        raise fault(detail, headers=headers, members={"run_id": str(run_id)})


def _sentence(reason: Json) -> str:
    text = str(reason or "")
    return f"{text[0].upper()}{text[1:]}." if text else ""
