"""What an API key is to its owner, and what may be asked of a new one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.kernel.api_keys import MAX_SCOPES, Scope, mark_of
from app.kernel.errors import Conflict, FieldError, Forbidden, NotFound
from app.kernel.identity import Principal, Role, RoleTable
from app.kernel.ids import KeyId, UserId
from app.kernel.storable import text_problem

NAME_LIMIT_CHARS = 100
MAX_KEYS = 50
"""of one owner, those that have expired among them"""


class KeyNotFound(NotFound):
    type = "key-not-found"
    title = "There is no such key"


class TooManyKeys(Conflict):
    type = "too-many-keys"
    title = "There are too many keys"


class KeyByKey(Forbidden):
    type = "key-by-key"
    title = "A key is made and deleted by a person who logs in"


class KeyNotShown(Forbidden):
    type = "key-not-shown"
    title = "This door takes an API key"


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What is asked of a new key. `role` None is every role of the caller; without scopes it opens all they do."""

    name: str
    role: str | None = None
    scopes: Sequence[str] = ()
    expires_at: datetime | None = None

    def problems(self, who: Principal, table: RoleTable, *, now: datetime) -> list[FieldError]:
        found = []
        if problem := text_problem(self.name, at_least=1, at_most=NAME_LIMIT_CHARS):
            found.append(FieldError("name", problem))
        if self.role is not None and not is_within(who, self.role, table):
            found.append(FieldError("role", f"must be no higher than your own, which is {who.role}"))
        if len(self.scopes) > MAX_SCOPES:
            found.append(FieldError("scopes", f"must be at most {MAX_SCOPES}"))
        for number, text in enumerate(self.scopes[:MAX_SCOPES]):
            try:
                Scope.read(text)
            except ValueError as flaw:
                found.append(FieldError(f"scopes[{number}]", str(flaw)))
        if self.expires_at is not None and self.expires_at <= now:
            found.append(FieldError("expires_at", "must lie in the future"))
        return found


def is_within(who: Principal, role: str, table: RoleTable) -> bool:
    """Tell whether a role opens nothing that the caller's own do not, and is named no higher."""
    if role in (who.roles or (who.role,)):
        return True
    is_lower = role in set(Role) and table.highest((role, who.role)) == who.role
    return is_lower and table.groups_of((role,)) <= who.groups


@dataclass(frozen=True, slots=True)
class NewKey:
    id: KeyId
    owner: UserId
    name: str
    digest: bytes = field(repr=False)
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is listed: nothing of it opens anything."""

    id: KeyId
    owner: UserId
    name: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def prefix(self) -> str:
        return mark_of(self.id)


@dataclass(frozen=True, slots=True)
class Made:
    """A new key with its text, which is not kept."""

    key: Key
    text: str = field(repr=False)


def refuse_unattended(who: Principal) -> None:
    """Errors: KeyByKey, for keys, what was exchanged for one, and runs: none of them may outlive its own withdrawal."""
    if who.key is not None or who.acting is not None:
        raise KeyByKey("Log in, and send the token of your login; a key or an agent makes and deletes no keys.")
