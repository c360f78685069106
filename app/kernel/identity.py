"""Who is calling, and which doors that opens.

A principal is made once, by the edge, from a verified token; everything after it (controllers, use cases, tools) reads
it and never asks again. Rule: `credential` is a secret; it leaves this process only towards the front door.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.kernel.api_keys import ApiKey
from app.kernel.ids import RunId, UserId


class Role(StrEnum):
    """The roles the product knows, weakest first."""

    GUEST = "guest"
    USER = "user"
    MANAGER = "manager"
    ADMIN = "admin"
    DEVELOPER = "developer"


class Access(StrEnum):
    """What a route row (or a local handler) asks of the caller: a group, or nothing."""

    PUBLIC = "PUBLIC"
    COMMON = "COMMON"
    STAFF = "STAFF"
    ADMIN = "ADMIN"
    PRIVATE = "PRIVATE"


DEFAULT_GROUPS: Mapping[Access, frozenset[str]] = {
    Access.COMMON: frozenset({Role.ADMIN, Role.MANAGER, Role.USER}),
    Access.STAFF: frozenset({Role.ADMIN, Role.MANAGER}),
    Access.ADMIN: frozenset({Role.ADMIN}),
    Access.PRIVATE: frozenset(),
}

_RANK = {role.value: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Acting:
    """The run that acts in a caller's name.

    `agents` names whose run it is, and behind that one those through whose runs it was asked for. A run that another
    worker has taken over has another `epoch`. `token_id` is that of the run's own token.
    """

    run_id: RunId
    epoch: int
    agents: tuple[str, ...]
    token_id: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    `role` is the highest of the token's `roles`; `groups` are the doors those roles open in this deployment.
    `expires_at` is in seconds since the epoch; nothing may be done in this name after it. `issued_at` too; a token that
    does not say counts as issued before everything. With `acting` it is a run that calls: `issued_at` and `token_id`
    are those of the token it was asked for with, so that to withdraw that one is to withdraw both. `request_id` names
    the request that is being answered, for who writes down what was done in it. `key` is the API key that was shown, or
    for which the token that was shown was given (`is_exchanged`): `issued_at` and `token_id` are the key's.
    """

    user_id: UserId
    role: str
    groups: frozenset[Access]
    expires_at: float
    token_id: str | None = None
    credential: str = field(default="", repr=False)
    issued_at: float = float("-inf")
    roles: tuple[str, ...] = ()
    acting: Acting | None = None
    request_id: str = ""
    key: ApiKey | None = None
    is_exchanged: bool = False

    def may_enter(self, access: Access) -> bool:
        return access is Access.PUBLIC or access in self.groups

    @property
    def is_admin(self) -> bool:
        return Access.ADMIN in self.groups

    @property
    def is_staff(self) -> bool:
        return Access.STAFF in self.groups


@dataclass(frozen=True, slots=True)
class RoleTable:
    """Which claim values open which group; outside PROD the developer is in all four."""

    groups: Mapping[Access, frozenset[str]]

    @classmethod
    def build(cls, overrides: Mapping[Access, Iterable[str]], *, developer_everywhere: bool) -> "RoleTable":
        groups = {**DEFAULT_GROUPS, **{group: frozenset(values) for group, values in overrides.items()}}
        if developer_everywhere:
            groups = {group: values | {Role.DEVELOPER} for group, values in groups.items()}
        return cls(groups)

    def groups_of(self, roles: Iterable[str]) -> frozenset[Access]:
        held = frozenset(roles)
        return frozenset(group for group, values in self.groups.items() if not held.isdisjoint(values))

    def highest(self, roles: Iterable[str]) -> str:
        """Pick the role to name towards upstreams: known ones by rank, an unknown one only when alone."""
        return max(roles, key=lambda role: _RANK.get(role, -1))
