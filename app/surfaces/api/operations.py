"""What the caller may do with the services behind the front door: an agent's tools are made from it.

The worker that works on a run has no route table and no description; it asks here, as the person it acts for, so what
is offered is what the edge lets in.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from app.infra.openapi.calls import OperationCall, calls_of
from app.infra.openapi.fleet import FleetDescription
from app.infra.openapi.operations import Joined
from app.kernel.identity import Access, Principal
from app.surfaces.api.dependencies import AnyRequest

KEPT_CATALOGUES = 16
"""one for each set of groups that callers come with; there are five groups"""

Who = NamedDependency[Principal]


class OperationList(msgspec.Struct, frozen=True):
    """In the order of the description; the tools of an agent have these names."""

    items: Sequence[OperationCall]
    total: int


class Catalogues:
    """Concurrency: for one event loop. What is asked for again is not made again until something changed."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, frozenset[Access]], bytes] = OrderedDict()

    async def of(self, joined: Joined, groups: frozenset[Access]) -> bytes:
        key = (joined.etag, groups)
        if key not in self._made:
            self._made[key] = await asyncio.to_thread(_written, joined, groups)
            while len(self._made) > KEPT_CATALOGUES:
                self._made.popitem(last=False)
        return self._made[key]


def _written(joined: Joined, groups: frozenset[Access]) -> bytes:
    items = calls_of(joined, groups)
    return msgspec.json.encode(OperationList(items, len(items)))


class OperationsController(Controller):
    path = "/api/v1/operations"
    tags = ("agents",)

    @get("/", responses={200: ResponseSpec(OperationList, generate_examples=False)})
    @inject
    async def list_operations(
        self,
        request: AnyRequest,
        principal: Who,
        description: FromDishka[FleetDescription],
        catalogues: FromDishka[Catalogues],
    ) -> Response[bytes]:
        """List the operations of services that the caller's roles may use, each with the schema of its arguments."""
        joined = await description.current()
        etag = _etag(joined, principal.groups)
        headers = {"etag": etag, "cache-control": "private, no-cache"}
        if etag in {tag.strip() for tag in request.headers.get("if-none-match", "").split(",")}:
            return Response(b"", status_code=304, headers=headers)
        body = await catalogues.of(joined, principal.groups)
        return Response(body, media_type="application/json", headers=headers)


def _etag(joined: Joined, groups: frozenset[Access]) -> str:
    whose = ",".join(sorted(groups))
    return f'"{hashlib.sha256(f"{joined.etag} {whose}".encode()).hexdigest()[:32]}"'
