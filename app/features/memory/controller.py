"""The endpoints of memories: read the request, call the use case, show what it gives."""

from typing import Any

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK

from app.features.memory.domain import MemoryNotFound
from app.features.memory.schemas import ForgottenOut, MemoryPageOut
from app.features.memory.use_cases.forget_memories import ForgetEverything, ForgetMemory
from app.features.memory.use_cases.list_memories import MEMORY_FIELDS, ListMemories
from app.infra.db.errors import StorageUnavailable
from app.kernel.identity import Principal
from app.kernel.paging import parse_list_query

# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
Who = NamedDependency[Principal]


class MemoryController(Controller):
    path = "/api/v1/memories"
    tags = ("memories",)

    @get(
        "/",
        summary="List what is remembered of oneself",
        description=(
            "What agents keep beyond a chat, of the caller alone. Filters: `ids`, `createdBefore`, `createdAfter`, "
            "`updatedBefore`, `updatedAfter`, `searchField` (`text`) with `searchString` and `searchIgnoreCase`, "
            "`orderBy`, `sortOrder`, `currentPage`, `pageSize`."
        ),
        opt={"faults": (StorageUnavailable,)},
    )
    @inject
    async def list_memories(
        self, request: AnyRequest, principal: Who, use_case: FromDishka[ListMemories]
    ) -> MemoryPageOut:
        given = request.query_params
        query = parse_list_query({key: given.getall(key) for key in given}, MEMORY_FIELDS)
        return MemoryPageOut.of(await use_case(principal, query))

    @delete(
        "/",
        summary="Forget everything about oneself",
        status_code=HTTP_200_OK,
        opt={"faults": (StorageUnavailable,)},
    )
    @inject
    async def forget_everything(self, principal: Who, use_case: FromDishka[ForgetEverything]) -> ForgottenOut:
        return ForgottenOut(await use_case(principal))

    @delete("/{memory_id:str}", summary="Forget one thing", opt={"faults": (MemoryNotFound, StorageUnavailable)})
    @inject
    async def forget_one(self, memory_id: FromPath[int], principal: Who, use_case: FromDishka[ForgetMemory]) -> None:
        await use_case(principal, memory_id)
