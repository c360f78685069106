"""The endpoint of the audit: read the request, call the use case, show what it gives."""

from typing import Annotated, Any

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from app.features.audit.schemas import TEXT_LIMIT_CHARS, AuditPageOut, filter_of
from app.features.audit.use_cases.list_audit import AUDIT_FIELDS, ListAudit
from app.infra.db.errors import StorageUnavailable
from app.kernel.identity import Principal
from app.kernel.paging import parse_list_query

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
# described here, checked by `filter_of`
A_TEXT = {"maxLength": TEXT_LIMIT_CHARS, "pattern": r"^[^\x00]*$"}
Text = Annotated[str | None, QueryParameter(required=False, schema_extra=A_TEXT)]


class AuditController(Controller):
    path = "/api/v1/audit"
    tags = ("audit",)

    @get(
        "/",
        summary="Tell who did what to whose object",
        description=(
            "Filters: `who`, `owner`, `action`, `object_id`, `request_id`, `ids`, `createdBefore`, `createdAfter`, "
            "`searchField` (`who`, `owner`, `action` or `object_id`) with `searchString` and `searchIgnoreCase`, "
            "`orderBy`, `sortOrder`, `currentPage`, `pageSize`."
        ),
        opt={"access": "ADMIN", "faults": (StorageUnavailable,)},
    )
    @inject
    async def list_audit(
        self,
        request: AnyRequest,
        principal: NamedDependency[Principal],
        use_case: FromDishka[ListAudit],
        who: Text = None,
        owner: Text = None,
        action: Text = None,
        object_id: Text = None,
        about_request: Annotated[
            str | None, QueryParameter(name="request_id", required=False, schema_extra=A_TEXT)
        ] = None,
    ) -> AuditPageOut:
        del principal
        given = request.query_params
        query = parse_list_query({key: given.getall(key) for key in given}, AUDIT_FIELDS)
        only = filter_of(who=who, owner=owner, action=action, object_id=object_id, request_id=about_request)
        return AuditPageOut.of(await use_case(query, only=only))
