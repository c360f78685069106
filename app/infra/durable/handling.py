"""A handler at work: other people's code, whose every end is an outcome."""

import structlog

from app.infra.durable.limits import MAX_RESULT_BYTES
from app.infra.durable.ports import Handler, Job, RunContext, RunError, RunFailed
from app.infra.durable.verdicts import Case, Outcome, Raised, Returned
from app.infra.wire.json_text import written

log = structlog.get_logger()


async def handled(handler: Handler, context: RunContext) -> Outcome:
    """Run a handler; whatever it raises is the run's outcome, not the worker's."""
    try:
        result = await handler.run(context)
    except BaseException as error:  # noqa: BLE001 suspensions and cancellations too
        return Raised(error)
    try:
        written(result, limit_bytes=MAX_RESULT_BYTES)
    except (TypeError, ValueError, RecursionError) as unfit:
        log.warning("run.result_unfit", run_id=str(context.job.id), cause=repr(unfit))
        return Raised(RunFailed(RunError("run-result-unfit", "The run's result cannot be kept.")))
    return Returned(result)


def say_what_broke(case: Case, job: Job, *, of: int) -> None:
    if isinstance(case.outcome, Raised) and isinstance(case.outcome.error, Exception) and case.stop is None:
        log.error(
            "run.attempt_failed",
            run_id=str(job.id),
            kind=job.kind,
            attempt=job.attempt,
            of=of,
            exc_info=case.outcome.error,
        )
