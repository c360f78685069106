"""The endpoint of usage: read the request, call the use case, show what it gives."""

from typing import Annotated, Any

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from app.features.usage.schemas import TEXT_LIMIT_CHARS, UsagePageOut, dimensions_of, filter_of
from app.features.usage.use_cases.list_usage import USAGE_FIELDS, ListUsage
from app.infra.db.errors import StorageUnavailable
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import MAX_ID
from app.kernel.paging import parse_list_query

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
Who = NamedDependency[Principal]
By = Annotated[
    str,
    QueryParameter(
        description="What to add up by: some of day, agent, chat, model, user; day if absent",
        schema_extra={"pattern": r"^((day|agent|chat|model|user)(,(day|agent|chat|model|user))*)?$"},
    ),
]
# described here, checked by `filter_of`
A_TEXT = {"maxLength": TEXT_LIMIT_CHARS, "pattern": r"^[^\x00]*$"}
Text = Annotated[str | None, QueryParameter(required=False, schema_extra=A_TEXT)]
# Litestar describes a bound as a float, which has not enough digits for an id
AN_ID = {"minimum": 0, "maximum": MAX_ID}
ChatFilter = Annotated[int | None, QueryParameter(required=False, ge=0, le=MAX_ID, schema_extra=AN_ID)]
OwnerFilter = Annotated[str | None, QueryParameter(name="user_id", required=False, schema_extra=A_TEXT)]


class UsageController(Controller):
    path = "/api/v1/usage"
    tags = ("usage",)

    @get(
        "/",
        summary="Tell what was spent",
        description=(
            "One's own; for staff everybody's. Filters: `agent`, `chat_id`, `model`, `user_id`, `createdBefore`, "
            "`createdAfter`, `updatedBefore`, `updatedAfter`, `searchField` (`agent` or `model`) with `searchString` "
            "and `searchIgnoreCase`, `orderBy` (an amount, or one of `by`), `sortOrder`, `currentPage`, `pageSize`."
        ),
        opt={"faults": (Forbidden, StorageUnavailable)},
    )
    @inject
    async def list_usage(
        self,
        request: AnyRequest,
        principal: Who,
        use_case: FromDishka[ListUsage],
        by: By = "day",
        agent: Text = None,
        model: Text = None,
        chat_id: ChatFilter = None,
        owner: OwnerFilter = None,
    ) -> UsagePageOut:
        given = request.query_params
        query = parse_list_query({key: given.getall(key) for key in given}, USAGE_FIELDS)
        only = filter_of(user_id=owner, agent=agent, chat_id=chat_id, model=model)
        return UsagePageOut.of(await use_case(principal, query, by=dimensions_of(by), only=only))
