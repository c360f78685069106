"""The endpoints that tell what was done of tasks: their history, and what it comes to."""

from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from app.features.tasks.domain.history import MAX_ENTRIES, HistoryFilter, SumBy
from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import TaskType
from app.features.tasks.use_cases.read_history import ReadHistory, ReadStatistics
from app.infra.db.errors import StorageUnavailable
from app.infra.events.ports import EventType
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import TaskId, UserId
from app.surfaces.api.task_history_schemas import HistoryOut, HistoryType, StatisticsOut, moment_of, place_of

# Litestar does not look into aliases made with `type`.
Who = NamedDependency[Principal]
A_TEXT = {"maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
Agent = Annotated[
    str | None, QueryParameter(required=False, max_length=255, pattern=A_TEXT["pattern"], schema_extra=A_TEXT)
]
Owner = Annotated[
    str | None,
    QueryParameter(name="user_id", required=False, max_length=255, pattern=A_TEXT["pattern"], schema_extra=A_TEXT),
]
Task = Annotated[UUID | None, QueryParameter(required=False)]
Type = Annotated[TaskType | None, QueryParameter(required=False)]
EntryType = Annotated[HistoryType | None, QueryParameter(name="type", required=False)]
HowBad = Annotated[Severity | None, QueryParameter(required=False, description="Of ends only")]
# read as every other list reads its times: Litestar would take a number for one
A_MOMENT = {"pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$", "maxLength": 40}
Since = Annotated[str | None, QueryParameter(required=False, schema_extra=A_MOMENT, description="From then on")]
Until = Annotated[str | None, QueryParameter(required=False, schema_extra=A_MOMENT, description="Before then")]
A_PLACE = {"maxLength": 64, "pattern": r"^([0-9]{1,17}\.[0-9a-f]{32}\.[12])?$"}
After = Annotated[
    str, QueryParameter(max_length=64, schema_extra=A_PLACE, description="The `next` of the page before, or a `cursor`")
]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_ENTRIES)]
By = Annotated[SumBy, QueryParameter(description="One sum for each of these")]


class TaskHistoryController(Controller):
    path = "/api/v1/tasks"
    tags = ("tasks",)
    opt = {"faults": (Forbidden, StorageUnavailable)}  # noqa: RUF012 - Litestar reads it as a mapping

    @get(
        "/events",
        summary="Tell when runs of tasks began and ended",
        description="The newest first. One's own; for staff everybody's, or those of `user_id`.",
    )
    @inject
    async def read_history(
        self,
        principal: Who,
        use_case: FromDishka[ReadHistory],
        type_: EntryType = None,
        task_id: Task = None,
        task_type: Type = None,
        agent: Agent = None,
        severity: HowBad = None,
        since: Since = None,
        until: Until = None,
        owner: Owner = None,
        after: After = "",
        limit: Limit = 20,
    ) -> HistoryOut:
        only = HistoryFilter(
            owner=None if owner is None else UserId(owner),
            task_id=None if task_id is None else TaskId(task_id),
            task_type=task_type,
            agent=agent,
            type_=None if type_ is None else EventType(type_.value),
            severity=severity,
            since=moment_of("since", since),
            until=moment_of("until", until),
        )
        return HistoryOut.of(await use_case(principal, only, after=place_of(after), limit=limit))

    @get(
        "/statistics",
        summary="Tell what the runs of tasks come to",
        description=(
            "Of each task, or of each agent: how many there were, how they ended, how long they took, what they cost, "
            "and the last of them. Of runs that were made from `since` (thirty days ago) until `until`; a hundred sums "
            "at most, the last active first. One's own; for staff everybody's, or those of `user_id`."
        ),
    )
    @inject
    async def read_statistics(
        self,
        principal: Who,
        use_case: FromDishka[ReadStatistics],
        by: By = SumBy.TASK,
        task_id: Task = None,
        task_type: Type = None,
        agent: Agent = None,
        since: Since = None,
        until: Until = None,
        owner: Owner = None,
    ) -> StatisticsOut:
        only = HistoryFilter(
            owner=None if owner is None else UserId(owner),
            task_id=None if task_id is None else TaskId(task_id),
            task_type=task_type,
            agent=agent,
            since=moment_of("since", since),
            until=moment_of("until", until),
        )
        return StatisticsOut.of(await use_case(principal, only, by=by))
