"""What clients send and get about keys; interface contracts, field by field."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from msgspec import Meta, Struct

from app.features.keys.domain import NAME_LIMIT_CHARS, Key, KeyWish, Made
from app.kernel.api_keys import MAX_SCOPE_CHARS, MAX_SCOPES
from app.kernel.paging import Page

type Name = Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT_CHARS)]
type ScopeText = Annotated[str, Meta(min_length=1, max_length=MAX_SCOPE_CHARS)]
type Scopes = Annotated[Sequence[ScopeText], Meta(max_length=MAX_SCOPES)]
type RoleName = Annotated[str, Meta(min_length=1, max_length=255)]
type Moment = Annotated[datetime, Meta(tz=True)]


class KeyIn(Struct, frozen=True, forbid_unknown_fields=True):
    """`role` is no higher than one's own, and one's own where it is left out.

    `scopes` are paths, or methods and a path (`/v1`, `GET,POST /api/v1/agenda`): the key opens what lies at or below
    them. Without any it opens whatever the role does. Without `expires_at` it is good until it is deleted.
    """

    name: Name
    role: RoleName | None = None
    scopes: Scopes = ()
    expires_at: Moment | None = None

    def wish(self) -> KeyWish:
        return KeyWish(self.name, self.role, self.scopes, self.expires_at)


class KeyOut(Struct, frozen=True, kw_only=True):
    """`prefix` is the beginning of the key's text, by which it is told from others; `last_used_at` is to the minute."""

    id: str
    user_id: str
    name: str
    prefix: str
    roles: Sequence[str]
    scopes: Sequence[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, key: Key) -> Self:
        return cls(**_fields(key))


class KeyMade(KeyOut, frozen=True, kw_only=True):
    """`key` is the key itself, in this answer and nowhere else."""

    key: str

    @classmethod
    def made(cls, made: Made) -> Self:
        return cls(key=made.text, **_fields(made.key))


# Any: of every field its own type
def _fields(key: Key) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "user_id": key.owner,
        "name": key.name,
        "prefix": key.prefix,
        "roles": key.roles,
        "scopes": key.scopes,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "created_at": key.created_at,
        "updated_at": key.updated_at,
    }


class KeyPageOut(Struct, frozen=True):
    items: Sequence[KeyOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Key]) -> Self:
        return cls([KeyOut.of(key) for key in page.items], page.total, page.limit, page.offset)
