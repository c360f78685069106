"""Who is asking, according to the front door.

These programs stand on loopback (or a private network) behind the gateway, which has verified the token, removed
whatever `X-User-*` the client sent and set its own. They therefore believe `X-User-Id` and `X-User-Role`, and must
never be reachable except through it.
"""

from dataclasses import dataclass
from typing import Annotated

from litestar.params import Dependency

from portico_fleet.problems import AnyRequest
from portico_fleet.refused import Unauthenticated

_STAFF = frozenset({"admin", "manager"})


@dataclass(frozen=True, slots=True)
class Caller:
    user_id: str
    role: str

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def is_staff(self) -> bool:
        return self.role in _STAFF


# Litestar would otherwise rebuild what a dependency gives from its fields.
Asking = Annotated[Caller, Dependency(skip_validation=True)]


def find_caller(request: AnyRequest) -> Caller | None:
    """Read the caller; two `X-User-Id` fields are none, because one of them was not set by the gateway."""
    ids = request.headers.getall("x-user-id", [])
    if len(ids) != 1 or not ids[0].strip():
        return None
    return Caller(user_id=ids[0].strip(), role=request.headers.get("x-user-role", "guest"))


def provide_caller(request: AnyRequest) -> Caller:
    caller = find_caller(request)
    if caller is None:
        raise Unauthenticated("X-User-Id is missing: ask through the gateway")
    return caller
