"""The endpoints of approvals: read the request, call the use case, show what it gives."""

from typing import Annotated, Any, cast
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK

from app.agents.approvals.desk import Status
from app.features.approvals.domain import (
    ApprovalByAgent,
    ApprovalDecided,
    ApprovalFilter,
    ApprovalNotFound,
    StandingApprovalNotFound,
    StandingFilter,
)
from app.features.approvals.schemas import (
    ApprovalOut,
    ApprovalPageOut,
    DecisionIn,
    StandingApprovalPageOut,
)
from app.features.approvals.use_cases.decide_approval import DecideApproval
from app.features.approvals.use_cases.list_approvals import APPROVAL_FIELDS, ListApprovals
from app.features.approvals.use_cases.read_approval import ReadApproval
from app.features.approvals.use_cases.standing_approvals import (
    STANDING_FIELDS,
    ListStandingApprovals,
    TakeBackApproval,
)
from app.infra.db.errors import StorageUnavailable
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import MAX_ID, ApprovalId, ChatId, RunId, UserId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.paging import parse_list_query, parse_uuids

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
Who = NamedDependency[Principal]
# Litestar describes a bound as a float, which has not enough digits for an id
AN_ID = {"minimum": 0, "maximum": MAX_ID}
ChatFilter = Annotated[int | None, QueryParameter(required=False, ge=0, le=MAX_ID, schema_extra=AN_ID)]
A_TEXT = {"maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
Text = Annotated[
    str | None, QueryParameter(required=False, max_length=255, pattern=A_TEXT["pattern"], schema_extra=A_TEXT)
]
OwnerFilter = Annotated[
    str | None,
    QueryParameter(name="user_id", required=False, max_length=255, pattern=A_TEXT["pattern"], schema_extra=A_TEXT),
]
StatusFilter = Annotated[Status | None, QueryParameter(required=False)]
RunFilter = Annotated[UUID | None, QueryParameter(required=False)]
ABOUT_ONE = (ApprovalNotFound, StorageUnavailable)


class ApprovalController(Controller):
    path = "/api/v1/approvals"
    tags = ("approvals",)
    opt = {"faults": ABOUT_ONE}  # noqa: RUF012 - Litestar reads it as a mapping

    @get(
        "/",
        summary="List what waits, or waited, for a person's approval",
        description=(
            "One's own; for an admin everybody's. Filters: `status`, `chat_id`, `run_id`, `tool`, `user_id`, `ids`, "
            "`createdBefore`, `createdAfter`, `updatedBefore`, `updatedAfter`, `searchField` (`tool`, `agent` or "
            "`question`) with `searchString` and `searchIgnoreCase`, `orderBy`, `sortOrder`, `currentPage`, `pageSize`."
        ),
        opt={"faults": (Forbidden, StorageUnavailable)},
    )
    @inject
    async def list_approvals(
        self,
        request: AnyRequest,
        principal: Who,
        use_case: FromDishka[ListApprovals],
        status: StatusFilter = None,
        chat_id: ChatFilter = None,
        run_id: RunFilter = None,
        tool: Text = None,
        owner: OwnerFilter = None,
    ) -> ApprovalPageOut:
        given = request.query_params
        filters = {key: given.getall(key) for key in given}
        query = parse_list_query({key: found for key, found in filters.items() if key != "ids"}, APPROVAL_FIELDS)
        only = ApprovalFilter(
            owner=None if owner is None else UserId(owner),
            status=status,
            chat_id=None if chat_id is None else ChatId(chat_id),
            run_id=None if run_id is None else RunId(run_id),
            tool=tool,
            ids=cast("tuple[ApprovalId, ...] | None", parse_uuids(filters)),
        )
        return ApprovalPageOut.of(await use_case(principal, query, only=only))

    @get(
        "/standing",
        summary="List which tools are approved for a whole chat",
        description=(
            "One's own; for an admin everybody's. Filters: `chat_id`, `user_id`, `createdBefore`, `createdAfter`, "
            "`updatedBefore`, `updatedAfter`, `searchField` (`tool` or `agent`) with `searchString` and "
            "`searchIgnoreCase`, `orderBy`, `sortOrder`, `currentPage`, `pageSize`."
        ),
        opt={"faults": (Forbidden, StorageUnavailable)},
    )
    @inject
    async def list_standing(
        self,
        request: AnyRequest,
        principal: Who,
        use_case: FromDishka[ListStandingApprovals],
        chat_id: ChatFilter = None,
        owner: OwnerFilter = None,
    ) -> StandingApprovalPageOut:
        given = request.query_params
        query = parse_list_query({key: given.getall(key) for key in given if key != "ids"}, STANDING_FIELDS)
        only = StandingFilter(
            owner=None if owner is None else UserId(owner), chat_id=None if chat_id is None else ChatId(chat_id)
        )
        return StandingApprovalPageOut.of(await use_case(principal, query, only=only))

    @delete(
        "/standing/{approval_id:str}",
        summary="Take back that a tool is approved for a whole chat",
        opt={"faults": (StandingApprovalNotFound, ApprovalByAgent, StorageUnavailable)},
    )
    @inject
    async def take_back(
        self, approval_id: FromPath[UUID], principal: Who, use_case: FromDishka[TakeBackApproval]
    ) -> None:
        await use_case(principal, ApprovalId(approval_id))

    @get("/{approval_id:str}", summary="Read a request for approval")
    @inject
    async def read_approval(
        self, approval_id: FromPath[UUID], principal: Who, use_case: FromDishka[ReadApproval]
    ) -> ApprovalOut:
        return ApprovalOut.of(await use_case(principal, ApprovalId(approval_id)))

    @post(
        "/{approval_id:str}",
        summary="Approve or deny, once",
        status_code=HTTP_200_OK,
        opt={"faults": (*ABOUT_ONE, ApprovalDecided, ApprovalByAgent)},
    )
    @inject
    async def decide(
        self,
        approval_id: FromPath[UUID],
        data: JSONBody[DecisionIn],
        principal: Who,
        keyed: NamedDependency[KeyedRequest | None],
        use_case: FromDishka[DecideApproval],
    ) -> ApprovalOut:
        return ApprovalOut.of(await use_case(principal, ApprovalId(approval_id), data.ruling(), keyed=keyed))
