"""What becomes of a run when its handler has come to an end: decided here, carried out by the worker."""

import random
from dataclasses import dataclass
from enum import Enum

from app.infra.durable.options import WorkerOptions
from app.infra.durable.ports import RunError, RunFailed, RunState
from app.infra.durable.releases import Wait
from app.kernel.errors import Fault
from app.kernel.values import Json

UNEXPECTED = RunError("internal", "Something went wrong on our side.")


class Stop(Enum):
    """Why a worker stopped a handler."""

    CANCELLED = "cancelled"
    DRAINED = "drained"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Returned:
    result: Json


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException


type Outcome = Returned | Raised


@dataclass(frozen=True, slots=True)
class End:
    state: RunState
    result: Json = None
    error: RunError | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    delay_s: float


class Simply(Enum):
    HAND_BACK = "hand back"
    LEAVE = "leave"


type Verdict = End | Retry | Wait | Simply


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a verdict depends on; `outcome` is None where the handler did not let go in time."""

    outcome: Outcome | None
    stop: Stop | None
    is_fenced: bool
    suspension: Wait | None
    attempt: int
    max_attempts: int


def judge(case: Case, options: WorkerOptions) -> Verdict:
    if case.is_fenced or case.stop is not None:
        return _stopped(case)
    if isinstance(case.outcome, Returned):
        return End(RunState.COMPLETED, case.outcome.result)
    error = case.outcome.error if case.outcome else None
    if case.suspension is not None and not isinstance(error, Exception):
        return case.suspension
    return _failed(case, error, options)


def _stopped(case: Case) -> Verdict:
    if case.is_fenced or case.stop is Stop.LOST:
        return Simply.LEAVE
    if case.stop is Stop.DRAINED:
        return Simply.HAND_BACK
    return End(RunState.INTERRUPTED, case.outcome.result if isinstance(case.outcome, Returned) else None)


def _failed(case: Case, error: BaseException | None, options: WorkerOptions) -> Verdict:
    if isinstance(error, RunFailed):
        return End(RunState.FAILED, error=error.error)
    if case.attempt >= case.max_attempts:
        return End(RunState.FAILED, error=told(error))
    return Retry(pause_s(case.attempt, options))


def told(error: BaseException | None) -> RunError:
    """Say an error to the run's owner: facts in their own words, anything else in ours."""
    return RunError(error.type, error.detail or error.title) if isinstance(error, Fault) else UNEXPECTED


def pause_s(failures: int, options: WorkerOptions) -> float:
    """Wait twice as long each time, up to a bound, and never all at once."""
    longest = min(options.longest_retry_s, options.first_retry_s * 2 ** min(failures - 1, 30))
    return random.uniform(longest / 2, longest)  # noqa: S311 not a secret
