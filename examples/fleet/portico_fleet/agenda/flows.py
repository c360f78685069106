"""Endpoints whose bodies flow: ticks as server-sent events, files in and out. Nothing here holds a body in memory."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
import msgspec
from litestar import Controller, delete, get, put
from litestar.params import Dependency, Parameter
from litestar.response import Stream

from portico_fleet.agenda.files import LIMIT_BYTES, Files, StoredFile, read
from portico_fleet.application import SIGNED_IN
from portico_fleet.caller import Asking
from portico_fleet.problems import AnyRequest, refusals

_Files = Annotated[Files, Dependency(skip_validation=True)]
_Count = Annotated[int, Parameter(ge=1, le=1000)]
_Interval = Annotated[int, Parameter(ge=0, le=10_000, description="Milliseconds between two ticks")]


@get(
    "/api/v1/stream/ticks",
    tags=["stream"],
    summary="Tick, one server-sent event at a time",
    security=SIGNED_IN,
    responses=refusals(400, 401),
    media_type="text/event-stream",
)
async def stream_ticks(caller: Asking, count: _Count = 5, interval_ms: _Interval = 200) -> Stream:
    ticks = _ticks(count, caller.user_id, interval_s=interval_ms / 1000)
    return Stream(ticks, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


class FileController(Controller):
    path = "/api/v1/files"
    tags = ["files"]  # noqa: RUF012 -- Litestar's own shape
    security = SIGNED_IN

    @put(
        "/{name:str}",
        summary="Store a file, up to 1 GiB",
        request_max_body_size=LIMIT_BYTES,
        responses=refusals(400, 401, 409, 413),
    )
    async def write_file(self, name: str, request: AnyRequest, caller: Asking, files: _Files) -> StoredFile:
        return await files.put(caller, name, request.stream())

    @get(
        "/{name:str}",
        summary="Fetch a file",
        media_type="application/octet-stream",
        responses=refusals(400, 401, 404),
    )
    async def read_file(self, name: str, caller: Asking, files: _Files) -> Stream:
        file, size_bytes = await files.open(caller, name)
        headers = {"Content-Length": str(size_bytes), "X-Content-Type-Options": "nosniff"}
        return Stream(read(file), media_type="application/octet-stream", headers=headers)

    @delete("/{name:str}", summary="Delete a file", responses=refusals(400, 401, 404))
    async def delete_file(self, name: str, caller: Asking, files: _Files) -> None:
        await files.remove(caller, name)


async def _ticks(count: int, user_id: str, *, interval_s: float) -> AsyncIterator[bytes]:
    for number in range(1, count + 1):
        if number > 1:
            await anyio.sleep(interval_s)
        payload = msgspec.json.encode({"tick": number, "of": count, "user_id": user_id})
        yield b"id: %d\nevent: tick\ndata: %s\n\n" % (number, payload)
