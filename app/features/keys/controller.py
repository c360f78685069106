"""The endpoints of keys: read the request, call the use case, show what it gives."""

from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.features.keys.domain import KeyByKey, KeyNotFound, TooManyKeys
from app.features.keys.schemas import KeyIn, KeyMade, KeyPageOut
from app.features.keys.use_cases.create_key import CreateKey
from app.features.keys.use_cases.delete_key import DeleteKey
from app.features.keys.use_cases.list_keys import KEY_FIELDS, ListKeys
from app.infra.db.errors import StorageUnavailable
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import KeyId, UserId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.paging import parse_list_query, parse_uuids
from app.kernel.sealing import SealBroken

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
Who = NamedDependency[Principal]
A_TEXT = {"maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
OwnerFilter = Annotated[
    str | None,
    QueryParameter(name="user_id", required=False, max_length=255, pattern=A_TEXT["pattern"], schema_extra=A_TEXT),
]
NOT_STORED = {"cache-control": "no-store"}


class KeysController(Controller):
    path = "/api/v1/keys"
    tags = ("keys",)
    opt = {"faults": (StorageUnavailable,)}  # noqa: RUF012 - Litestar reads it as a mapping

    @get(
        "/",
        summary="List API keys",
        description=(
            "One's own; for an admin everybody's. Filters: `user_id`, `ids`, `createdBefore`, `createdAfter`, "
            "`updatedBefore`, `updatedAfter`, `searchField` (`name`) with `searchString` and `searchIgnoreCase`, "
            "`orderBy`, `sortOrder`, `currentPage`, `pageSize`."
        ),
        opt={"faults": (Forbidden, StorageUnavailable)},
    )
    @inject
    async def list_keys(
        self, request: AnyRequest, principal: Who, use_case: FromDishka[ListKeys], owner: OwnerFilter = None
    ) -> KeyPageOut:
        given = request.query_params
        filters = {key: given.getall(key) for key in given}
        query = parse_list_query({key: found for key, found in filters.items() if key != "ids"}, KEY_FIELDS)
        named = None if owner is None else UserId(owner)
        return KeyPageOut.of(await use_case(principal, query, owner=named, ids=parse_uuids(filters)))

    @post(
        "/",
        summary="Make an API key, shown in this answer only",
        description=(
            "For clients that cannot log in every few minutes. It is sent as `Authorization: Bearer ptk_...`. Its role "
            "is no higher than that of the token it is made with; a key, an agent, or a token that a key was exchanged "
            "for, makes none."
        ),
        opt={"faults": (KeyByKey, TooManyKeys, SealBroken, StorageUnavailable), "is_secret": True},
    )
    @inject
    async def create_key(
        self,
        data: JSONBody[KeyIn],
        principal: Who,
        keyed: NamedDependency[KeyedRequest | None],
        use_case: FromDishka[CreateKey],
    ) -> Response[KeyMade]:
        made = await use_case(principal, data.wish(), keyed=keyed)
        return Response(KeyMade.made(made), status_code=201, headers=NOT_STORED)

    @delete(
        "/{key_id:str}",
        summary="Delete an API key",
        description=(
            "It is refused from now on, in every process within a second, with the tokens it was exchanged for; runs "
            "that were begun with it are stopped."
        ),
        opt={"faults": (KeyByKey, KeyNotFound, StorageUnavailable)},
    )
    @inject
    async def delete_key(self, key_id: FromPath[UUID], principal: Who, use_case: FromDishka[DeleteKey]) -> None:
        await use_case(principal, KeyId(key_id))
