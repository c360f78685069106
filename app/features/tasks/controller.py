"""The endpoints of tasks: read the request, call the use case, show what it gives."""

from typing import Annotated, Any, cast
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from app.features.runs.controller import accepted
from app.features.runs.schemas import RunBegun, RunOut
from app.features.tasks.domain.batch import BatchNotFound
from app.features.tasks.domain.task import TaskBusy, TaskChange, TaskFilter, TaskNotFound, TaskType
from app.features.tasks.domain.report import ReportNotFound
from app.features.tasks.schemas import (
    BatchCreate,
    BatchOut,
    TaskCreate,
    TaskMade,
    TaskOut,
    TaskPageOut,
    TaskRunsOut,
    TaskUpdate,
)
from app.features.tasks.use_cases.create_batch import CreateBatch
from app.features.tasks.use_cases.create_task import CreateTask
from app.features.tasks.use_cases.delete_task import DeleteTask
from app.features.tasks.use_cases.execute_task import ExecuteTask
from app.features.tasks.use_cases.list_task_runs import RUN_FIELDS, ListTaskRuns
from app.features.tasks.use_cases.list_tasks import TASK_FIELDS, ListTasks
from app.features.tasks.use_cases.read_batch import ReadBatch
from app.features.tasks.use_cases.read_report import ReadReport
from app.features.tasks.use_cases.read_task import ReadTask
from app.features.tasks.use_cases.restore_task import RestoreTask
from app.features.tasks.use_cases.retry_failed import RetryFailed
from app.features.tasks.use_cases.update_task import UpdateTask
from app.infra.db.errors import StorageUnavailable
from app.kernel.authority import DelegatedTooDeep
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import TaskId, UserId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.paging import ListFields, ListQuery, parse_list_query, parse_uuids

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
Who = NamedDependency[Principal]
Keyed = NamedDependency[KeyedRequest | None]
A_TEXT = {"maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
OwnerFilter = Annotated[
    str | None,
    QueryParameter(name="user_id", required=False, max_length=255, pattern=A_TEXT["pattern"], schema_extra=A_TEXT),
]
TypeFilter = Annotated[TaskType | None, QueryParameter(required=False)]
EnabledFilter = Annotated[bool | None, QueryParameter(required=False)]
MARKDOWN = "text/markdown"
BOUNDS = "`createdBefore`, `createdAfter`, `updatedBefore`, `updatedAfter`"
PAGES = f"{BOUNDS}, `orderBy`, `sortOrder`, `currentPage`, `pageSize`"
ABOUT_A_TASK = (TaskNotFound, StorageUnavailable)
ABOUT_A_BATCH = (BatchNotFound, StorageUnavailable)


class TaskController(Controller):
    path = "/api/v1/tasks"
    tags = ("tasks",)
    opt = {"faults": ABOUT_A_TASK}  # noqa: RUF012 - Litestar reads it as a mapping

    @get(
        "/",
        summary="List tasks",
        description=(
            f"One's own; for an admin everybody's. Filters: `task_type`, `enabled`, `user_id`, `ids`, {PAGES}, "
            "`searchField` (`prompt` or `agent`) with `searchString` and `searchIgnoreCase`."
        ),
        opt={"faults": (Forbidden, StorageUnavailable)},
    )
    @inject
    async def list_tasks(
        self,
        request: AnyRequest,
        principal: Who,
        use_case: FromDishka[ListTasks],
        task_type: TypeFilter = None,
        enabled: EnabledFilter = None,
        owner: OwnerFilter = None,
    ) -> TaskPageOut:
        only = TaskFilter(
            owner=None if owner is None else UserId(owner),
            task_type=task_type,
            enabled=enabled,
            ids=cast("tuple[TaskId, ...] | None", parse_uuids(_filters(request))),
        )
        return TaskPageOut.of(await use_case(principal, _list_query(request, TASK_FIELDS), only=only))

    @post("/", summary="Set an agent to work", opt={"faults": (DelegatedTooDeep, StorageUnavailable)})
    @inject
    async def create_task(
        self, data: JSONBody[TaskCreate], principal: Who, keyed: Keyed, use_case: FromDishka[CreateTask]
    ) -> TaskMade:
        return TaskMade.made(await use_case(principal, data.draft(creator=principal.user_id), keyed=keyed))

    @get("/{task_id:str}", summary="Read a task")
    @inject
    async def read_task(self, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[ReadTask]) -> TaskOut:
        return TaskOut.of(await use_case(principal, TaskId(task_id)))

    @patch("/{task_id:str}", summary="Change a task", opt={"faults": (DelegatedTooDeep, *ABOUT_A_TASK)})
    @inject
    async def update_task(
        self, task_id: FromPath[UUID], data: JSONBody[TaskUpdate], principal: Who, use_case: FromDishka[UpdateTask]
    ) -> TaskOut:
        return TaskOut.of(await use_case(principal, TaskId(task_id), data.change()))

    @delete("/{task_id:str}", summary="Delete a task, and stop what runs of it")
    @inject
    async def delete_task(self, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[DeleteTask]) -> None:
        await use_case(principal, TaskId(task_id))

    @post("/{task_id:str}/restore", summary="Bring a deleted task back", status_code=HTTP_200_OK)
    @inject
    async def restore_task(self, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[RestoreTask]) -> TaskOut:
        return TaskOut.of(await use_case(principal, TaskId(task_id)))

    @post(
        "/{task_id:str}/execute",
        summary="Run a task now, beside its schedule",
        status_code=HTTP_202_ACCEPTED,
        opt={"faults": (DelegatedTooDeep, TaskBusy, *ABOUT_A_TASK)},
    )
    @inject
    async def execute_task(
        self, task_id: FromPath[UUID], principal: Who, keyed: Keyed, use_case: FromDishka[ExecuteTask]
    ) -> Response[RunBegun]:
        return accepted(await use_case(principal, TaskId(task_id), keyed=keyed))

    @post(
        "/{task_id:str}/enable",
        summary="Let a task run by itself again",
        status_code=HTTP_200_OK,
        opt={"faults": (DelegatedTooDeep, *ABOUT_A_TASK)},
    )
    @inject
    async def enable_task(self, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[UpdateTask]) -> TaskOut:
        return TaskOut.of(await use_case(principal, TaskId(task_id), TaskChange(enabled=True)))

    @post(
        "/{task_id:str}/disable",
        summary="Let a task run no more by itself",
        status_code=HTTP_200_OK,
        opt={"faults": (DelegatedTooDeep, *ABOUT_A_TASK)},
    )
    @inject
    async def disable_task(self, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[UpdateTask]) -> TaskOut:
        return TaskOut.of(await use_case(principal, TaskId(task_id), TaskChange(enabled=False)))

    @get("/{task_id:str}/runs", summary="List a task's runs", description=f"Filters: {PAGES}.")
    @inject
    async def list_runs(
        self, request: AnyRequest, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[ListTaskRuns]
    ) -> TaskRunsOut:
        page = await use_case(principal, TaskId(task_id), _list_query(request, RUN_FIELDS))
        return TaskRunsOut([RunOut.of(run) for run in page.items], page.total, page.limit, page.offset)

    @get(
        "/{task_id:str}/report",
        summary="Read the report of a piece of research, in Markdown",
        description="That of its last run that was completed.",
        opt={"faults": (ReportNotFound, *ABOUT_A_TASK)},
        responses={200: ResponseSpec(str, media_type=MARKDOWN, generate_examples=False, description="The report")},
    )
    @inject
    async def read_report(
        self, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[ReadReport]
    ) -> Response[str]:
        return Response(await use_case(principal, TaskId(task_id)), media_type=MARKDOWN)


class BatchController(Controller):
    path = "/api/v1/tasks/batches"
    tags = ("tasks",)
    opt = {"faults": ABOUT_A_BATCH}  # noqa: RUF012 - as above

    @post(
        "/",
        summary="Set agents to many tasks: all of them or none",
        opt={"faults": (DelegatedTooDeep, StorageUnavailable)},
    )
    @inject
    async def create_batch(
        self, data: JSONBody[BatchCreate], principal: Who, keyed: Keyed, use_case: FromDishka[CreateBatch]
    ) -> BatchOut:
        drafts = [one.draft(creator=principal.user_id) for one in data.tasks]
        return BatchOut.of(await use_case(principal, drafts, keyed=keyed))

    @get("/{batch_id:str}", summary="Tell how the tasks of a batch stand")
    @inject
    async def read_batch(self, batch_id: FromPath[UUID], principal: Who, use_case: FromDishka[ReadBatch]) -> BatchOut:
        return BatchOut.of(await use_case(principal, batch_id))

    @post(
        "/{batch_id:str}/retry-failed",
        summary="Run again what failed of a batch",
        status_code=HTTP_202_ACCEPTED,
        opt={"faults": (DelegatedTooDeep, *ABOUT_A_BATCH)},
    )
    @inject
    async def retry_failed(
        self, batch_id: FromPath[UUID], principal: Who, use_case: FromDishka[RetryFailed]
    ) -> BatchOut:
        return BatchOut.of(await use_case(principal, batch_id))


CONTROLLERS: tuple[type[Controller], ...] = (TaskController, BatchController)


def _filters(request: AnyRequest) -> dict[str, list[str]]:
    given = request.query_params
    return {key: given.getall(key) for key in given}


def _list_query(request: AnyRequest, fields: ListFields) -> ListQuery:
    """Read all but `ids`, which are no numbers here."""
    return parse_list_query({key: found for key, found in _filters(request).items() if key != "ids"}, fields)
