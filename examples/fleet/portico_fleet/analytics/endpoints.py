"""The analytics endpoints.

Snapshots come from the gateway's message hook, which speaks for every user and is no user itself: it shows the shared
`HOOK_TOKEN`, or nothing where none is set and the program is reachable on loopback only. A user may report for
themselves.
"""

import hmac
from dataclasses import dataclass
from typing import Annotated

from litestar import get, post
from litestar.params import Dependency

from portico_fleet.analytics.snapshots import NewSnapshot, Snapshot, SnapshotPage, Snapshots, UserCountPage
from portico_fleet.application import SIGNED_IN
from portico_fleet.caller import Asking, find_caller
from portico_fleet.paging import Wanted
from portico_fleet.problems import AnyRequest, refusals
from portico_fleet.refused import NotAllowed, Unauthenticated


@dataclass(frozen=True, slots=True)
class Hook:
    """Whose word is taken for another user's; an empty token means that none is asked for."""

    token: str

    def admits(self, request: AnyRequest) -> bool:
        shown = request.headers.get("authorization", "")
        return bool(self.token) and hmac.compare_digest(shown.encode(), f"Bearer {self.token}".encode())


_Snapshots = Annotated[Snapshots, Dependency(skip_validation=True)]
_Hook = Annotated[Hook, Dependency(skip_validation=True)]


@post(
    "/api/v1/snapshot/",
    tags=["snapshots"],
    summary="Report what a user said",
    security=SIGNED_IN,
    responses=refusals(400, 401, 403),
)
async def capture_snapshot(data: NewSnapshot, request: AnyRequest, hook: _Hook, snapshots: _Snapshots) -> Snapshot:
    return await _capture(data, request, hook, snapshots)


@post("/v1/snapshot", include_in_schema=False)
async def capture_snapshot_at_first_path(
    data: NewSnapshot, request: AnyRequest, hook: _Hook, snapshots: _Snapshots
) -> Snapshot:
    return await _capture(data, request, hook, snapshots)


@get(
    "/api/v1/snapshot/",
    tags=["snapshots"],
    summary="List snapshots, newest first",
    security=SIGNED_IN,
    responses=refusals(400, 401),
)
async def list_snapshots(caller: Asking, window: Wanted, snapshots: _Snapshots) -> SnapshotPage:
    return await snapshots.page(caller, window)


@get(
    "/api/v1/snapshot/counts",
    tags=["snapshots"],
    summary="Count snapshots by user",
    security=SIGNED_IN,
    responses=refusals(400, 401),
)
async def count_snapshots(caller: Asking, window: Wanted, snapshots: _Snapshots) -> UserCountPage:
    return await snapshots.counts(caller, window)


async def _capture(data: NewSnapshot, request: AnyRequest, hook: Hook, snapshots: Snapshots) -> Snapshot:
    user_id = str(data.user_id)
    _check_reporter(request, hook, user_id)
    return await snapshots.add(user_id, message=data.message, chat_id=data.chat_id)


def _check_reporter(request: AnyRequest, hook: Hook, user_id: str) -> None:
    if hook.admits(request):
        return
    caller = find_caller(request)
    if caller is None and hook.token:
        raise Unauthenticated("neither the hook's token nor X-User-Id was sent")
    if caller is not None and caller.user_id != user_id and not caller.is_staff:
        raise NotAllowed("a user reports for themselves")


HANDLERS = [capture_snapshot, capture_snapshot_at_first_path, list_snapshots, count_snapshots]
