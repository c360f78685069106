"""The endpoints of notifications: read the request, call the use case, show what it gives."""

from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from app.features.notifications.domain.news import Kind, NothingToResend, NotificationFilter, NotificationNotFound
from app.features.notifications.schemas import (
    NotificationOut,
    NotificationPageOut,
    ReadAllOut,
    TestIn,
    TestOut,
    ids_of,
)
from app.features.notifications.use_cases.list_notifications import NOTIFICATION_FIELDS, ListNotifications
from app.features.notifications.use_cases.read_notification import ReadAll, ReadNotification
from app.features.notifications.use_cases.resend_notification import ResendNotification
from app.features.notifications.use_cases.send_test import SendTest
from app.infra.db.errors import StorageUnavailable
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import NotificationId, RunId, UserId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.paging import parse_list_query

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
KindFilter = Annotated[Kind | None, QueryParameter(required=False)]
IdFilter = Annotated[UUID | None, QueryParameter(required=False)]
Flag = Annotated[bool | None, QueryParameter(required=False)]
ABOUT_ONE = (NotificationNotFound, StorageUnavailable)


class NotificationController(Controller):
    path = "/api/v1/notifications"
    tags = ("notifications",)

    @get(
        "/",
        summary="List what one was told",
        description=(
            "One's own; for staff everybody's. Filters: `unread`, `dead` (something of it was given up), `kind`, "
            "`task_id`, `run_id`, `user_id`, `ids`, `createdBefore`, `createdAfter`, `updatedBefore`, `updatedAfter`, "
            "`searchField` (`title`, `text` or `agent`) with `searchString` and `searchIgnoreCase`, `orderBy`, "
            "`sortOrder`, `currentPage`, `pageSize`."
        ),
        opt={"faults": (Forbidden, StorageUnavailable)},
    )
    @inject
    async def list_notifications(
        self,
        request: AnyRequest,
        principal: Who,
        use_case: FromDishka[ListNotifications],
        unread: Flag = None,
        dead: Flag = None,
        kind: KindFilter = None,
        task_id: IdFilter = None,
        run_id: IdFilter = None,
        owner: OwnerFilter = None,
    ) -> NotificationPageOut:
        given = request.query_params
        filters = {key: given.getall(key) for key in given}
        query = parse_list_query({key: found for key, found in filters.items() if key != "ids"}, NOTIFICATION_FIELDS)
        only = NotificationFilter(
            owner=None if owner is None else UserId(owner),
            kind=kind,
            is_unread=unread,
            has_dead=dead,
            run_id=None if run_id is None else RunId(run_id),
            task_id=task_id,
            ids=ids_of(filters.get("ids", ())),
        )
        return NotificationPageOut.of(await use_case(principal, query, only=only))

    @post(
        "/read",
        summary="Mark all one's own as read",
        status_code=HTTP_200_OK,
        opt={"faults": (StorageUnavailable,)},
    )
    @inject
    async def read_all(self, principal: Who, use_case: FromDishka[ReadAll]) -> ReadAllOut:
        return ReadAllOut(await use_case(principal))

    @post(
        "/test",
        summary="Send oneself a test by a configuration",
        description="What is given is not kept. The answer tells the secret that signatures for its webhook have.",
        status_code=HTTP_202_ACCEPTED,
        opt={"faults": (StorageUnavailable,)},
    )
    @inject
    async def send_test(
        self, data: JSONBody[TestIn], principal: Who, keyed: Keyed, use_case: FromDishka[SendTest]
    ) -> TestOut:
        return TestOut.of(await use_case(principal, data.config(), keyed=keyed))

    @post("/{notification_id:str}/read", summary="Mark as read", status_code=HTTP_200_OK, opt={"faults": ABOUT_ONE})
    @inject
    async def read_one(
        self, notification_id: FromPath[UUID], principal: Who, use_case: FromDishka[ReadNotification]
    ) -> NotificationOut:
        return NotificationOut.of(await use_case(principal, NotificationId(notification_id)))

    @post(
        "/{notification_id:str}/resend",
        summary="Send again what was given up",
        status_code=HTTP_202_ACCEPTED,
        opt={"faults": (*ABOUT_ONE, NothingToResend)},
    )
    @inject
    async def resend(
        self, notification_id: FromPath[UUID], principal: Who, use_case: FromDishka[ResendNotification]
    ) -> NotificationOut:
        return NotificationOut.of(await use_case(principal, NotificationId(notification_id)))
