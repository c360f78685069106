"""The engine of runs and the journal of events in memory, held by the contract tests of the real ones.

`FakeRuns` is what is stored; the queue, the engine, the worker and the log over it are its attributes' neighbours. No
process dies here, so no lease runs out; time is the real one.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from app.infra.durable.families import read_begun, refusal, word_of_step
from app.infra.durable.handling import handled
from app.infra.durable.limits import MAX_INPUT_BYTES, MAX_SIGNAL_BYTES, MAX_STEP_BYTES, SHORT_SLEEP_S
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ports import (
    Body,
    ChildEnd,
    Ended,
    FamilyFull,
    FamilyLimits,
    Fenced,
    Handlers,
    Job,
    JournalUnreadable,
    NewChild,
    NewRun,
    Noting,
    Place,
    RunError,
    RunNotFound,
    RunNotOver,
    RunState,
    StepInDoubt,
    StepKey,
    Suspended,
)
from app.infra.durable.releases import Wait
from app.infra.durable.verdicts import Case, End, Outcome, Retry, Simply, Stop, Verdict, judge
from app.infra.events.encoding import columns_of
from app.infra.events.groups import SLACK_MS, before
from app.infra.events.ports import LAST_WORDS, EventType, NewEvent, PlacedEvent, RunEvent, RunsCursor
from app.infra.events.run_places import RunPlaces
from app.infra.wire.json_text import written
from app.kernel.ids import ChatId, RunId, UserId, new_run_id
from app.kernel.transaction import Begin, Tx
from app.kernel.values import Json

LAST_WORD = {
    RunState.COMPLETED: EventType.RUN_COMPLETED,
    RunState.FAILED: EventType.RUN_FAILED,
    RunState.INTERRUPTED: EventType.RUN_INTERRUPTED,
}


@dataclass
class FakeRun:
    new: NewRun
    run_at: datetime
    state: RunState = RunState.QUEUED
    epoch: int = 0
    failures: int = 0
    wait: Wait | None = None
    is_begun: bool = False
    cancel_reason: str | None = None
    code_version: str = ""
    result: Json = None
    error: RunError | None = None
    events: list[RunEvent] = field(default_factory=list)
    steps: dict[str, str | None] = field(default_factory=dict)
    signals: dict[str, Json] = field(default_factory=dict)

    def job(self, version: str = "") -> Job:
        new = self.new
        return Job(
            new.id,
            new.kind,
            new.owner,
            new.trigger,
            cast("dict[str, Json]", json.loads(written(new.input, limit_bytes=MAX_INPUT_BYTES))),
            new.lane,
            new.chat_id,
            new.agent,
            self.failures + 1,
            self.epoch,
            self.code_version or version,
            new.task_id,
            new.parent_id,
        )

    def say(self, *words: NewEvent) -> int:
        columns_of(words)  # refuses what is too large
        for word in words:
            data = json.loads(written(word.data, limit_bytes=2**20))
            self.events.append(
                RunEvent(len(self.events) + 1, word.type, self.new.id, self.new.chat_id, datetime.now(UTC), data)
            )
        return len(self.events)


class FakeRuns:
    """What is stored. `begin` opens the transactions in which runs end; a test's own, or one that undoes runs."""

    def __init__(self, begin: Begin | None = None) -> None:
        self.begin: Begin = begin or self._begin
        self.runs: dict[RunId, FakeRun] = {}
        self._lock = asyncio.Lock()
        self._waiting: set[asyncio.Event] = set()

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[Tx]:
        async with self._lock:
            before = dict(self.runs)
            try:
                yield object()
            except BaseException:
                self.runs = before
                raise

    def find(self, run_id: RunId) -> FakeRun:
        if run_id not in self.runs:
            raise RunNotFound
        return self.runs[run_id]

    def tell(self) -> None:
        for waiting in self._waiting:
            waiting.set()

    async def news(self, *, within_s: float = 0.02) -> None:
        """Wait for something to change, or for the time to go on."""
        mine = asyncio.Event()
        self._waiting.add(mine)
        try:
            async with asyncio.timeout(within_s):
                await mine.wait()
        except TimeoutError:
            return
        finally:
            self._waiting.discard(mine)

    def lane(self, lane: str) -> list[FakeRun]:
        live = [run for run in self.runs.values() if run.new.lane == lane and not run.state.is_final]
        return sorted(live, key=lambda run: run.new.id)

    def ends(self, parent: RunId, children: Sequence[RunId]) -> dict[RunId, ChildEnd]:
        found = [self.runs[child] for child in children if child in self.runs]
        mine = [run for run in found if run.new.parent_id == parent and run.state.is_final]
        return {run.new.id: ChildEnd(run.state, run.error) for run in mine}

    def has_run(self, dedupe: str) -> bool:
        return any(run.new.dedupe == dedupe for run in self.runs.values())

    def see_to_room(self, parent: RunId, kind: str, within: FamilyLimits) -> None:
        """Errors: FamilyFull."""
        root = parent
        while (above := self.runs[root].new.parent_id) is not None:
            root = above
        family = {root}
        for run in self.runs.values():  # parents come before their children
            if run.new.parent_id in family:
                family.add(run.new.id)
        below = [self.runs[one] for one in family if one != root and self.runs[one].new.kind == kind]
        if len(below) >= within.in_all:
            raise FamilyFull(is_for_good=True)
        live = [run for run in below if not run.state.is_final]
        have_others = {parent, *(run.new.parent_id for run in live)}
        if sum(run.new.id not in have_others for run in live) >= within.at_once:
            raise FamilyFull(is_for_good=False)

    def end_family(self, run: FakeRun) -> None:
        """Have its parent go on, if that waits for children, and tell its own to stop."""
        parent = self.runs.get(run.new.parent_id) if run.new.parent_id else None
        if parent and parent.state is RunState.WAITING and parent.wait and parent.wait.children:
            parent.state, parent.run_at = RunState.QUEUED, datetime.now(UTC)
        for child in self.runs.values():
            if child.new.parent_id == run.new.id and not child.state.is_final:
                child.cancel_reason = child.cancel_reason or "the run that began it is over"
                if child.state is not RunState.RUNNING:
                    child.state, child.run_at = RunState.QUEUED, datetime.now(UTC)

    def due(self, kinds: Sequence[str]) -> FakeRun | None:
        now = datetime.now(UTC)
        found = [run for run in self.runs.values() if run.new.kind in kinds and self._is_due(run, now)]
        return min(found, key=lambda run: (run.new.priority, run.run_at, run.new.id), default=None)

    def _is_due(self, run: FakeRun, now: datetime) -> bool:
        if run.state is RunState.WAITING:
            return run.wait is not None and run.wait.until is not None and run.wait.until <= now
        if run.state is not RunState.QUEUED or run.run_at > now:
            return False
        return run.new.lane is None or self.lane(run.new.lane)[0] is run


@dataclass
class FakeRunQueue:
    kept: FakeRuns

    async def take_place(self, tx: Tx, *, lane: str, chat_id: ChatId | None = None) -> Place:
        del tx
        in_lane = [known for known in self.kept.runs.values() if known.new.lane == lane]
        is_free = all(known.state.is_final for known in in_lane)
        return Place(self._place(new_run_id(), lane, chat_id), is_free)

    async def put(self, tx: Tx, run: NewRun) -> RunId:
        del tx
        same = [known.new.id for known in self.kept.runs.values() if run.dedupe and known.new.dedupe == run.dedupe]
        if same:
            return same[0]
        written(run.input, limit_bytes=MAX_INPUT_BYTES)
        run_id = self._place(run.id, run.lane, run.chat_id)
        new = FakeRun(replace(run, id=run_id), run.scheduled_for or datetime.now(UTC))
        new.say(NewEvent(EventType.RUN_QUEUED))
        self.kept.runs[run_id] = new
        self.kept.tell()
        return run_id

    async def take_free(self, tx: Tx, wanted: Sequence[str], *, at_most: int) -> Sequence[str]:
        del tx
        return wanted[:at_most]

    async def put_many(self, tx: Tx, runs: Sequence[NewRun]) -> Sequence[RunId]:
        return [await self.put(tx, run) for run in runs]

    def _place(self, run_id: RunId, lane: str | None, chat_id: ChatId | None) -> RunId:
        others = [
            known.new.id
            for known in self.kept.runs.values()
            if (lane and known.new.lane == lane) or (chat_id and known.new.chat_id == chat_id)
        ]
        newest = max(others, default=None)
        return run_id if newest is None or run_id > newest else new_run_id(after=newest)

    async def signal(self, tx: Tx, run_id: RunId, key: str, payload: Json) -> bool:
        del tx
        run = self.kept.find(run_id)
        if run.state.is_final or key in run.signals:
            return False
        run.signals[key] = cast("Json", json.loads(written(payload, limit_bytes=MAX_SIGNAL_BYTES)))
        if run.state is RunState.WAITING and run.wait is not None and run.wait.key == key:
            run.state, run.run_at = RunState.QUEUED, datetime.now(UTC)
        self.kept.tell()
        return True


async def end(kept: FakeRuns, handlers: Handlers, run: FakeRun, verdict: End, reason: str) -> None:
    """End a run with what belongs to it, in one transaction; the guard is the caller's look at its state."""
    async with kept.begin() as tx:
        ended = Ended(run.job(), verdict.state, verdict.result, verdict.error)
        said = await handlers[run.new.kind].settle(tx, ended)
        last: dict[str, Json] = {}
        if verdict.error is not None:
            last = {"error": {"type": verdict.error.type, "detail": verdict.error.detail}}
        elif reason and verdict.state is RunState.INTERRUPTED:
            last = {"reason": reason}
        run.state, run.result, run.error = verdict.state, verdict.result, verdict.error
        run.say(*said, NewEvent(LAST_WORD[verdict.state], last))
        kept.end_family(run)
    kept.tell()


@dataclass
class FakeEngine:
    kept: FakeRuns
    handlers: Handlers

    async def dispatch(self, run_id: RunId, *, chat_id: ChatId | None = None) -> None:
        del chat_id
        await self.dispatch_many([run_id])

    async def dispatch_many(self, runs: Sequence[RunId]) -> None:
        del runs
        self.kept.tell()

    async def cancel(self, run_id: RunId, *, reason: str = "", noting: Noting | None = None) -> RunState:
        run = self.kept.find(run_id)
        if run.state.is_final:
            return run.state
        if noting is not None:
            async with self.kept.begin() as tx:
                await noting(tx)
        if run.state is RunState.RUNNING:
            run.cancel_reason = run.cancel_reason or reason
            self.kept.tell()
        else:
            await end(self.kept, self.handlers, run, End(RunState.INTERRUPTED), reason)
        return run.state

    async def signal(self, run_id: RunId, key: str, payload: Json) -> bool:
        async with self.kept.begin() as tx:
            return await FakeRunQueue(self.kept).signal(tx, run_id, key, payload)

    async def rerun(
        self,
        run_id: RunId,
        *,
        told: Mapping[str, Json] | None = None,
        dedupe: str | None = None,
        noting: Noting | None = None,
    ) -> RunId:
        old = self.kept.find(run_id)
        if not old.state.is_final:
            raise RunNotOver
        asked = {**old.new.input, **(told or {})}
        again = replace(old.new, id=new_run_id(), input=asked, rerun_of=run_id, dedupe=dedupe, scheduled_for=None)
        async with self.kept.begin() as tx:
            if noting is not None:
                await noting(tx)
            return await FakeRunQueue(self.kept).put(tx, again)


@dataclass
class FakeRunContext:
    kept: FakeRuns
    run: FakeRun
    job: Job
    version: str
    suspension: Wait | None = None
    _counts: dict[str, int] = field(default_factory=dict)
    _replayed: int = 0

    async def step(self, name: str, body: Body, *, is_idempotent: bool = True, only_reads: bool = False) -> Json:
        del only_reads  # written down at once, which is allowed
        count = self._counts[name] = self._counts.get(name, 0) + 1
        key = StepKey(self.job.id, f"{name}#{count}")
        if key.name in self.run.steps:
            kept = self.run.steps[key.name]
            if kept is None:
                raise StepInDoubt(key)
            self._replayed += 1
            return cast("Json", json.loads(kept))
        if self._replayed < len(self.run.steps) and self.job.code_version != self.version:
            raise JournalUnreadable(begun_by=self.job.code_version, now=self.version)
        if self.run.cancel_reason is not None:
            raise Fenced
        if not is_idempotent:
            self.run.steps[key.name] = None
        try:
            text = written(await body(key), limit_bytes=MAX_STEP_BYTES)
        except Exception:
            self.run.steps.pop(key.name, None)
            raise
        self._stand()
        self.run.steps[key.name] = text
        return cast("Json", json.loads(text))

    async def wait(self, key: str, *, until: datetime | None = None) -> Json:
        until = await self._kept_moment(f"until:{key}", until) if until else None
        if key not in self.run.signals and until and until <= datetime.now(UTC):
            self.run.signals[key] = None
        if key in self.run.signals:
            return self.run.signals[key]
        self.suspension = Wait(key, until)
        raise Suspended

    async def sleep(self, name: str, until: datetime) -> None:
        until = await self._kept_moment(f"sleep:{name}", until)
        if until - datetime.now(UTC) > timedelta(seconds=SHORT_SLEEP_S):
            await self.wait(f"sleep:{name}", until=until)
        else:
            await asyncio.sleep(max(0, (until - datetime.now(UTC)).total_seconds()))

    async def begin(self, name: str, child: NewChild) -> RunId:
        async def put(key: StepKey) -> Json:
            self._stand()
            word = word_of_step(key)
            if child.within is not None and not self.kept.has_run(word):
                try:
                    self.kept.see_to_room(self.job.id, child.kind, child.within)
                except FamilyFull as full:
                    return refusal(full)
            new = NewRun(
                new_run_id(after=self.job.id),
                child.kind,
                self.job.owner,
                child.trigger,
                child.input,
                task_id=self.job.task_id,
                parent_id=self.job.id,
                agent=child.agent,
                priority=self.run.new.priority,
                max_attempts=child.max_attempts,
                dedupe=word,
            )
            async with self.kept.begin() as tx:
                return str(await FakeRunQueue(self.kept).put(tx, new))

        return read_begun(await self.step(name, put))

    async def join(
        self, children: Sequence[RunId], *, at_least: int | None = None, until: datetime | None = None
    ) -> Mapping[RunId, ChildEnd]:
        needed = len(children) if at_least is None else at_least
        ends = self.kept.ends(self.job.id, children)
        if len(ends) < needed and (until is None or datetime.now(UTC) < until):
            self.suspension = Wait.for_children(children, needed, until)
            raise Suspended
        return ends

    async def read_child(self, child: RunId) -> Json:
        run = self.kept.runs.get(child)
        return run.result if run and run.new.parent_id == self.job.id else None

    async def progress(self, events: Sequence[NewEvent]) -> int:
        await asyncio.sleep(0)
        self._stand()
        last = self.run.say(*events)
        self.kept.tell()
        return last

    def _stand(self) -> None:
        if self.run.state is not RunState.RUNNING or self.run.epoch != self.job.epoch:
            raise Fenced

    async def _kept_moment(self, name: str, until: datetime) -> datetime:
        async def keep(_key: StepKey) -> Json:
            return until.astimezone(UTC).isoformat()

        return datetime.fromisoformat(cast("str", await self.step(name, keep)))


@dataclass
class FakeWorker:
    kept: FakeRuns
    handlers: Handlers
    options: WorkerOptions = field(default_factory=lambda: WorkerOptions("fake", version="1", first_retry_s=0.01))
    _running: set[RunId] = field(default_factory=set)
    _is_draining: bool = False

    async def work(self) -> None:
        self._is_draining = False
        async with asyncio.TaskGroup() as group:
            try:
                while True:
                    while len(self._running) < self.options.slots and (run := self.kept.due(list(self.handlers))):
                        self._begin(group, run)
                    await self.kept.news()
            finally:
                self._is_draining = True
                self.kept.tell()
                while self._running:
                    await self.kept.news()

    def _begin(self, group: asyncio.TaskGroup, run: FakeRun) -> None:
        self._running.add(run.new.id)
        run.state, run.epoch = RunState.RUNNING, run.epoch + 1
        run.code_version = run.code_version or self.options.version
        if run.cancel_reason is not None:  # told to stop before anybody took it
            group.create_task(self._end_at_once(run))
            return
        if not run.is_begun or run.wait is not None:
            run.say(NewEvent(EventType.RUN_STARTED))
        run.is_begun, run.wait = True, None
        self.kept.tell()
        group.create_task(self._conduct(group, run))

    async def _end_at_once(self, run: FakeRun) -> None:
        await self._end(run, End(RunState.INTERRUPTED))
        self._running.discard(run.new.id)
        self.kept.tell()

    async def _conduct(self, group: asyncio.TaskGroup, run: FakeRun) -> None:
        context = FakeRunContext(self.kept, run, run.job(), self.options.version)
        handler = group.create_task(handled(self.handlers[run.new.kind], context))
        stop: Stop | None = None
        while not handler.done() and stop is None:
            await self.kept.news(within_s=0.005)
            stop = Stop.DRAINED if self._is_draining else None
            stop = Stop.CANCELLED if run.cancel_reason is not None else stop
        if handler.done():
            stop = None
        else:
            handler.cancel()
            await asyncio.wait([handler], timeout=self.options.cancel_s)
        outcome: Outcome | None = handler.result() if handler.done() else None
        case = Case(outcome, stop, False, context.suspension, context.job.attempt, run.new.max_attempts)
        await self._carry_out(judge(case, self.options), run)
        self._running.discard(run.new.id)
        self.kept.tell()

    async def _carry_out(self, verdict: Verdict, run: FakeRun) -> None:
        match verdict:
            case End():
                await self._end(run, verdict)
            case Retry():
                of, attempt = run.new.max_attempts, run.failures + 2
                run.state, run.failures = RunState.QUEUED, run.failures + 1
                run.run_at = datetime.now(UTC) + timedelta(seconds=verdict.delay_s)
                run.say(NewEvent(EventType.RUN_PROGRESS, {"status": "retrying", "attempt": attempt, "of": of}))
            case Wait() if verdict.key in run.signals:
                run.state = RunState.QUEUED
            case Wait() if verdict.children and len(self.kept.ends(run.new.id, verdict.children)) >= verdict.at_least:
                run.state = RunState.QUEUED
            case Wait():
                until = None if verdict.until is None else verdict.until.isoformat()
                run.state, run.wait = RunState.WAITING, verdict
                run.say(NewEvent(EventType.RUN_WAITING, {"for": verdict.key, "until": until}))
            case Simply():
                run.state = RunState.QUEUED

    async def _end(self, run: FakeRun, verdict: End) -> None:
        try:
            await end(self.kept, self.handlers, run, verdict, run.cancel_reason or "")
        except Exception:  # noqa: BLE001 what settles is other people's code; it is tried again
            run.state, run.run_at = RunState.QUEUED, datetime.now(UTC) + timedelta(seconds=0.01)


@dataclass
class FakeEventLog:
    kept: FakeRuns

    async def read(self, run_id: RunId, *, after: int = 0, limit: int = 1000) -> Sequence[RunEvent]:
        run = self.kept.runs.get(run_id)
        return run.events[after : after + limit] if run else ()

    async def follow(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[RunEvent]:
        while (run := self.kept.runs.get(run_id)) is not None:
            for event in run.events[after:]:
                after = event.seq
                yield event
                if event.type in LAST_WORDS:
                    return
            if run.state.is_final and after >= len(run.events):
                return
            await self.kept.news()

    async def follow_chat(self, chat_id: ChatId, *, after: RunsCursor | None = None) -> AsyncGenerator[PlacedEvent]:
        async with aclosing(self._follow(lambda new: new.chat_id == chat_id, RunPlaces(after))) as events:
            async for event in events:
                yield event

    async def follow_person(self, owner: UserId, *, after: RunsCursor | None = None) -> AsyncGenerator[PlacedEvent]:
        mine = [run for run in self.kept.runs.values() if run.new.owner == owner]
        newest = max((run.new.id for run in mine), default=RunId(UUID(int=0)))
        alive = {run.new.id: len(run.events) for run in mine if not run.state.is_final}
        near = [run.new.id for run in mine]
        places = RunPlaces.now(before(newest, SLACK_MS), near, alive) if after is None else RunPlaces(after)
        async with aclosing(self._follow(lambda new: new.owner == owner, places)) as events:
            async for event in events:
                yield event

    async def _follow(self, is_wanted: Callable[[NewRun], bool], places: RunPlaces) -> AsyncGenerator[PlacedEvent]:
        after = places.start
        while True:
            runs = [run for run in self.kept.runs.values() if is_wanted(run.new)]
            wanted = [run for run in runs if after is None or run.new.id >= after.run_id]
            wanted = [run for run in wanted if not places.is_over(run.new.id)]
            for run in sorted(wanted, key=lambda run: run.new.id):
                for event in run.events[places.place_in(run.new.id) :]:
                    if cursor := places.note(event):
                        yield PlacedEvent(event, cursor)
                if run.state.is_final:
                    places.note_over(run.new.id)
            await self.kept.news()

    async def chat_end(self, chat_id: ChatId) -> RunsCursor | None:
        runs = [run for run in self.kept.runs.values() if run.new.chat_id == chat_id]
        live = [run.new.id for run in runs if not run.state.is_final]
        if live:
            return RunsCursor(min(live), 0)
        newest = max(runs, key=lambda run: run.new.id, default=None)
        return None if newest is None else RunsCursor(newest.new.id, len(newest.events))
