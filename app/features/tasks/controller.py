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
from app.features.runs.domain.run import path_of
from app.features.runs.schemas import RunBegun, RunOut
from app.features.tasks.domain.batch import BatchNotFound
from app.features.tasks.domain.payload import PayloadUnreadable
from app.features.tasks.domain.report import ReportNotFound
from app.features.tasks.domain.signatures import Delivery, DeliveryStale, SignatureInvalid
from app.features.tasks.domain.task import TaskBusy, TaskChange, TaskFilter, TaskNotFound, TaskType
from app.features.tasks.domain.webhook import DeliveryReplayed, NotTriggered, TooManyDeliveries, WebhookDisabled
from app.features.tasks.schemas import (
    BatchCreate,
    BatchOut,
    DeliveryTaken,
    ReportOut,
    RotationIn,
    SecretShown,
    TaskCreate,
    TaskMade,
    TaskOut,
    TaskPageOut,
    TaskReportsOut,
    TaskRunsOut,
    TaskUpdate,
)
from app.features.tasks.use_cases.create_batch import CreateBatch
from app.features.tasks.use_cases.create_task import CreateTask
from app.features.tasks.use_cases.delete_task import DeleteTask
from app.features.tasks.use_cases.execute_task import ExecuteTask
from app.features.tasks.use_cases.list_reports import ListReports
from app.features.tasks.use_cases.list_task_runs import RUN_FIELDS, ListTaskRuns
from app.features.tasks.use_cases.list_tasks import TASK_FIELDS, ListTasks
from app.features.tasks.use_cases.read_batch import ReadBatch
from app.features.tasks.use_cases.read_report import ReadReport
from app.features.tasks.use_cases.read_task import ReadTask
from app.features.tasks.use_cases.restore_task import RestoreTask
from app.features.tasks.use_cases.retry_failed import RetryFailed
from app.features.tasks.use_cases.rotate_secret import RotateSecret
from app.features.tasks.use_cases.take_delivery import TakeDelivery
from app.features.tasks.use_cases.update_task import UpdateTask
from app.infra.db.errors import StorageUnavailable
from app.kernel.authority import DelegatedTooDeep
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import TaskId, UserId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.paging import ListFields, ListQuery, parse_list_query, parse_uuids
from app.kernel.sealing import SealBroken

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
Who = NamedDependency[Principal]
Keyed = NamedDependency[KeyedRequest | None]
FrontUrl = NamedDependency[str]
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
OF_A_DELIVERY = (
    SignatureInvalid,
    DeliveryStale,
    DeliveryReplayed,
    NotTriggered,
    WebhookDisabled,
    PayloadUnreadable,
    TooManyDeliveries,
    SealBroken,
    StorageUnavailable,
)


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

    @post(
        "/",
        summary="Set an agent to work",
        opt={"faults": (DelegatedTooDeep, SealBroken, StorageUnavailable), "is_secret": True},
    )
    @inject
    async def create_task(
        self,
        data: JSONBody[TaskCreate],
        principal: Who,
        keyed: Keyed,
        front_url: FrontUrl,
        use_case: FromDishka[CreateTask],
    ) -> TaskMade:
        made = await use_case(principal, data.draft(creator=principal.user_id), keyed=keyed)
        return TaskMade.made(made, front_url=front_url)

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

    @post(
        "/{task_id:str}/rotate-secret",
        summary="Give a webhook another secret, shown in this answer only",
        status_code=HTTP_200_OK,
        opt={"faults": (NotTriggered, SealBroken, *ABOUT_A_TASK), "is_secret": True},
    )
    @inject
    async def rotate_secret(
        self,
        task_id: FromPath[UUID],
        data: JSONBody[RotationIn],
        principal: Who,
        keyed: Keyed,
        front_url: FrontUrl,
        use_case: FromDishka[RotateSecret],
    ) -> SecretShown:
        done = await use_case(principal, TaskId(task_id), data.rotation(), keyed=keyed)
        return SecretShown.of(done.task, done.secret, front_url=front_url, former_holds_until=done.former_holds_until)

    @get("/{task_id:str}/runs", summary="List a task's runs", description=f"Filters: {PAGES}.")
    @inject
    async def list_runs(
        self, request: AnyRequest, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[ListTaskRuns]
    ) -> TaskRunsOut:
        page = await use_case(principal, TaskId(task_id), _list_query(request, RUN_FIELDS))
        return TaskRunsOut([RunOut.of(run) for run in page.items], page.total, page.limit, page.offset)

    @get("/{task_id:str}/reports", summary="List what a task's runs came to", description=f"Filters: {PAGES}.")
    @inject
    async def list_reports(
        self, request: AnyRequest, task_id: FromPath[UUID], principal: Who, use_case: FromDishka[ListReports]
    ) -> TaskReportsOut:
        page = await use_case(principal, TaskId(task_id), _list_query(request, RUN_FIELDS))
        return TaskReportsOut([ReportOut.of(one) for one in page.items], page.total, page.limit, page.offset)

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


class WebhookController(Controller):
    """The door of those who have no token: their deliveries are signed."""

    path = "/api/v1/tasks/webhooks"
    tags = ("tasks",)

    @post(
        "/{task_id:str}",
        summary="Deliver something to a task's webhook",
        description="JSON, a form or text, of at most 256 KB, signed as the task's `trigger_config` says.",
        status_code=HTTP_202_ACCEPTED,
        opt={"access": "PUBLIC", "faults": OF_A_DELIVERY},
    )
    @inject
    async def take_delivery(
        self,
        request: AnyRequest,
        task_id: FromPath[UUID],
        request_id: NamedDependency[str],
        use_case: FromDishka[TakeDelivery],
    ) -> Response[DeliveryTaken]:
        delivery = Delivery(dict(request.headers), await request.body())
        taken = await use_case(TaskId(task_id), delivery, request_id=request_id)
        headers = {} if taken.run_id is None else {"location": path_of(taken.run_id)}
        return Response(DeliveryTaken.of(taken), status_code=HTTP_202_ACCEPTED, headers=headers)


CONTROLLERS: tuple[type[Controller], ...] = (TaskController, BatchController, WebhookController)


def _filters(request: AnyRequest) -> dict[str, list[str]]:
    given = request.query_params
    return {key: given.getall(key) for key in given}


def _list_query(request: AnyRequest, fields: ListFields) -> ListQuery:
    """Read all but `ids`, which are no numbers here."""
    return parse_list_query({key: found for key, found in _filters(request).items() if key != "ids"}, fields)
