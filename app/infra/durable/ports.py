"""The engine of durable runs as everybody else sees it. It speaks no PostgreSQL: another engine may take its place.

A run is a row that was committed together with what it belongs to (`RunQueue.put`, in the caller's transaction), and is
offered to the engine by its id afterwards (`Engine.dispatch`). An offer may be lost; a sweep finds what was not taken.
A worker runs the `Handler` of the run's kind. What the handler does in steps is done once: a run that is begun again,
in whatever process, is handed the results of the steps that were finished.

Facts the handlers are written against
- A lane is first in, first out, one run at a time; a waiting run keeps its lane, a slot and memory it does not.
- Whatever a run writes is fenced by its epoch: a worker that was frozen for longer than its lease writes nothing more.
- A body may run again if the process dies behind its effect: pass on the step's key, or say that it is not idempotent.
- A run that another one began (`RunContext.begin`) wakes it when it ends, and never outlives it for long.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType, Protocol

from app.infra.events.ports import NewEvent
from app.kernel.errors import Conflict, NotFound
from app.kernel.ids import ChatId, RunId, TaskId, UserId
from app.kernel.transaction import Tx
from app.kernel.values import Json

CHILDREN = "children"
"""what a run waits for that waits for its children, as `run_waiting` tells it: for no person"""


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        return self in {RunState.COMPLETED, RunState.FAILED, RunState.INTERRUPTED}


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be committed. `kind` names its handler, `input` is what the handler is given, at most 256 KB.

    `priority`: the lower goes first, across lanes only. `dedupe`: a second run of the same word is not made.
    """

    id: RunId
    kind: str
    owner: UserId
    trigger: str
    input: Mapping[str, Json]
    lane: str | None = None
    chat_id: ChatId | None = None
    task_id: TaskId | None = None
    parent_id: RunId | None = None
    rerun_of: RunId | None = None
    agent: str | None = None
    priority: int = 0
    scheduled_for: datetime | None = None
    max_attempts: int = 3
    dedupe: str | None = None
    on_disconnect: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A run as its handler gets it; `attempt` counts from 1, a hand-over or a crash is no new attempt."""

    id: RunId
    kind: str
    owner: UserId
    trigger: str
    input: Mapping[str, Json]
    lane: str | None
    chat_id: ChatId | None
    agent: str | None
    attempt: int
    epoch: int
    code_version: str
    """of the program that began the run"""
    task_id: TaskId | None = None
    parent_id: RunId | None = None


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed: `type` is a problem's type, `detail` is for its owner."""

    type: str
    detail: str


@dataclass(frozen=True, slots=True)
class FamilyLimits:
    """How many runs of one kind there may be below the run that began it all: at once, and ever.

    One that has children of its own at work is not counted among those at once, nor is the one that begins another:
    they leave their place to them.
    """

    at_once: int
    in_all: int


@dataclass(frozen=True, slots=True)
class NewChild:
    """A run that another one begins, of the same owner and task; the words are those of `NewRun`."""

    kind: str
    trigger: str
    input: Mapping[str, Json]
    agent: str | None = None
    max_attempts: int = 3
    within: FamilyLimits | None = None


class FamilyFull(Exception):
    """There is no room for another child; `is_for_good` where no end of others makes any."""

    def __init__(self, *, is_for_good: bool) -> None:
        super().__init__("the family has no room")
        self.is_for_good = is_for_good


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a child ended."""

    state: RunState
    error: RunError | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A run at its end, for whoever settles what belongs to it."""

    job: Job
    state: RunState
    result: Json = None
    error: RunError | None = None


class RunFailed(Exception):
    """Raised by a handler: the run is over, trying again would not help. Anything else that is raised is retried."""

    def __init__(self, error: RunError) -> None:
        super().__init__(error.detail)
        self.error = error


class JournalUnreadable(RunFailed):
    """This program cannot go on from the steps that another version of it wrote down; nothing was done on a guess."""

    def __init__(self, *, begun_by: str, now: str) -> None:
        detail = f"The run was begun by version {begun_by}, and version {now} cannot go on with it. Run it again."
        super().__init__(RunError("run-code-changed", detail))


class Suspended(BaseException):
    """The run waits for something and leaves its slot; handlers let it pass."""


class Fenced(BaseException):
    """The run belongs to another worker by now, or was cancelled; handlers let it pass."""


@dataclass(frozen=True, slots=True)
class StepKey:
    """Names one step of one run, the same in every attempt: what an effect outside is keyed with."""

    run_id: RunId
    name: str

    def __str__(self) -> str:
        return f"{self.run_id}/{self.name}"


type Body = Callable[[StepKey], Awaitable[Json]]


class RunContext(Protocol):
    """A run's hand on the engine while its handler works. Concurrency: of one task; steps come one after another."""

    @property
    def job(self) -> Job: ...

    async def step(self, name: str, body: Body, *, is_idempotent: bool = True, only_reads: bool = False) -> Json:
        """Do something once: a finished step gives its kept result, and the body is not called.

        The same name again is the next step of that name. A body that is not idempotent is preceded by a written
        intent; where the process died between the two, StepInDoubt is raised instead of doing it twice. A step that
        `only_reads` is written down with the one behind it: nothing came of it until then, so it may be read anew.
        Errors: what the body raises, StepInDoubt; Fenced, Suspended pass through.
        """
        ...

    async def wait(self, key: str, *, until: datetime | None = None) -> Json:
        """Give what was signalled under `key`, now or in a later process; None when `until` passed before."""
        ...

    async def sleep(self, name: str, until: datetime) -> None:
        """Go on when `until` has passed, in whatever process; a short rest of it is slept on the spot."""
        ...

    async def begin(self, name: str, child: NewChild) -> RunId:
        """Begin a run that belongs to this one; a step, so that it is begun once, whatever becomes of this process.

        It stops at the latest when this run ends, in whatever way, and so do those that it began itself.
        Errors: JsonTooLarge; FamilyFull, kept like an answer; Fenced, Suspended pass through.
        """
        ...

    async def join(
        self, children: Sequence[RunId], *, at_least: int | None = None, until: datetime | None = None
    ) -> Mapping[RunId, ChildEnd]:
        """Tell how those ended that are over, as soon as so many of them are (None: all), now or in a later process.

        When `until` has passed it tells of those that are over by then.

        No step: which ones it tells of may differ when a handler runs again, so let no step's name depend on it.
        """
        ...

    async def read_child(self, child: RunId) -> Json:
        """Give the result of a child that is over."""
        ...

    async def progress(self, events: Sequence[NewEvent]) -> int:
        """Append events; they are committed, and may be shown, when this returns. Gives the number of the last."""
        ...


class StepInDoubt(Exception):
    """A step that must not be done twice was begun and never reported; only a person knows."""

    def __init__(self, key: StepKey) -> None:
        super().__init__(f"it is not known whether {key.name} was done")
        self.key = key


class Handler(Protocol):
    """What a kind of run does. One value in each process; knows of a run only what it is handed."""

    async def run(self, context: RunContext) -> Json:
        """Do the work; what is returned is the run's result."""
        ...

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        """Write what belongs to the run's end, in the transaction that ends it; give what is to be said before.

        Called exactly once a run that ends, whichever way and wherever: also where no handler ever ran.
        """
        ...


Handlers = NewType("Handlers", Mapping[str, Handler])
"""By the kind of run."""


@dataclass(frozen=True, slots=True)
class Place:
    """The end of a lane: the id the run there will have, and whether nobody stands before it."""

    run_id: RunId
    is_free: bool


class RunQueue(Protocol):
    async def take_place(self, tx: Tx, *, lane: str, chat_id: ChatId | None = None) -> Place:
        """Take a lane's end until the transaction is over, for a run that is named before it is put; as `put` does."""
        ...

    async def take_free(self, tx: Tx, wanted: Sequence[str], *, at_most: int) -> Sequence[str]:
        """Take the ends of those lanes that nobody else has at this moment, the first so many; gives which.

        Concurrency: waits for nobody. Who holds them may `put` into them, and nothing of theirs ends until then.
        """
        ...

    async def put(self, tx: Tx, run: NewRun) -> RunId:
        """Commit a run with the caller's transaction, its first event `run_queued` with it.

        Gives the id of the run there is, which is another one where `dedupe` was met before, or where the proposed one
        would not sort behind the lane and the chat (two hosts' clocks differ).
        Concurrency: holds the lane's lock until the transaction ends. Call it before anything that locks rows which a
        handler's `settle` writes, or the two may wait for each other and one of them is refused.
        """
        ...

    async def put_many(self, tx: Tx, runs: Sequence[NewRun]) -> Sequence[RunId]:
        """Do what `put` does for each, in their order. Cost: four statements, however many there are."""
        ...

    async def signal(self, tx: Tx, run_id: RunId, key: str, payload: Json) -> bool:
        """Do what `Engine.signal` does with the caller's transaction; `dispatch` the run when that is committed."""
        ...


type Noting = Callable[[Tx], Awaitable[None]]
"""What somebody writes down of an act, with the transaction that does it."""


class Engine(Protocol):
    """Any process may ask; errors of the storage pass through."""

    async def dispatch(self, run_id: RunId, *, chat_id: ChatId | None = None) -> None:
        """Offer a committed run; a hint. Who knows the run's chat may say so, or it is looked up."""
        ...

    async def dispatch_many(self, runs: Sequence[RunId]) -> None:
        """Offer several."""
        ...

    async def cancel(self, run_id: RunId, *, reason: str = "", noting: Noting | None = None) -> RunState:
        """Stop a run: at once where it is queued or waiting, else within 100 ms, wherever it runs.

        Gives the state of the run there and then; a final one stays what it is. `noting` is called with the
        transaction that stops it, or asks its worker to. Errors: RunNotFound.
        """
        ...

    async def signal(self, run_id: RunId, key: str, payload: Json) -> bool:
        """Answer what a run waits for, or will wait for; the first answer counts, False for any later.

        Errors: RunNotFound.
        """
        ...

    async def rerun(
        self,
        run_id: RunId,
        *,
        told: Mapping[str, Json] | None = None,
        dedupe: str | None = None,
        noting: Noting | None = None,
    ) -> RunId:
        """Begin again what is over, as a new run; once for a word.

        `told` takes the place of what its input says under the same names. Errors: RunNotFound, RunNotOver.
        """
        ...


@dataclass(frozen=True, slots=True)
class EngineNumbers:
    """How it goes, for metrics and health: runs that are not over, and what this process counted since its start.

    `oldest_queued_s` is the age of the run that may be begun for longest.
    """

    by_state: Mapping[RunState, int] = field(default_factory=dict)
    oldest_queued_s: float = 0.0
    lease_expiries: int = 0
    fenced_writes: int = 0


class Worker(Protocol):
    """Takes runs and has them handled, within one process."""

    async def work(self) -> None:
        """Take, run and end runs until cancelled; then hand back what runs, at once."""
        ...


@dataclass(frozen=True, slots=True)
class Present:
    """A worker that was heard of a moment ago, and what it said of itself."""

    name: str
    version: str
    report: Json
    seen_at: datetime


class Crew(Protocol):
    """Which workers there are, on whatever host. Errors: StorageUnavailable from every method."""

    async def report(self, name: str, *, version: str, report: Json) -> None:
        """Say that a worker is there; to be said again every few seconds. `report` has at most 64 KB."""
        ...

    async def leave(self, name: str) -> None: ...

    async def present(self) -> Sequence[Present]:
        """Read who reported in the last twenty seconds; the last first."""
        ...


class RunNotFound(NotFound):
    type = "run-not-found"
    title = "There is no such run"


class RunNotOver(Conflict):
    type = "run-not-over"
    title = "The run is not over yet"
