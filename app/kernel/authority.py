"""In whose name a run works: what its row keeps of the caller, so that a worker can go on when the caller is gone.

Rule: never a token. Who asked, with which roles, and how the token that was shown can be withdrawn; that is all.
"""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Self

from app.kernel.errors import Forbidden
from app.kernel.identity import Acting, Principal, RoleTable
from app.kernel.ids import RunId, UserId
from app.kernel.run_tokens import MAX_AGENTS
from app.kernel.values import Json

INPUT_KEY = "authority"
"""under which the input of a run that acts for somebody holds it, as `as_json` writes it"""


class DelegatedTooDeep(Forbidden):
    type = "delegated-too-deep"
    title = "Too many agents act for one another"


@dataclass(frozen=True, slots=True)
class Authority:
    """What a caller may at the time of asking, and no more: `roles` are copied, and what they open is looked up again.

    `issued_at` and `token_id` are those of the caller's token: to withdraw it withdraws what was asked for with it.
    `agents` are those in whose run it was asked for, the last one first.
    """

    user_id: UserId
    roles: tuple[str, ...]
    issued_at: float = -inf
    token_id: str | None = None
    agents: tuple[str, ...] = ()

    @classmethod
    def of(cls, who: Principal) -> Self:
        """Errors: DelegatedTooDeep."""
        agents = who.acting.agents if who.acting is not None else ()
        if len(agents) >= MAX_AGENTS:
            raise DelegatedTooDeep(f"No more than {MAX_AGENTS} agents may ask one another, each in a run of its own.")
        return cls(who.user_id, who.roles or (who.role,), who.issued_at, who.token_id, agents)

    def in_run(self, run_id: RunId, epoch: int, *, agent: str, table: RoleTable) -> Principal:
        """Make the caller that a turn of this run has; it shows no token, it is given one for each call."""
        return Principal(
            user_id=self.user_id,
            role=table.highest(self.roles),
            groups=table.groups_of(self.roles),
            expires_at=inf,
            token_id=self.token_id,
            issued_at=self.issued_at,
            roles=self.roles,
            acting=Acting(run_id, epoch, (agent, *self.agents)),
        )

    def as_json(self) -> dict[str, Json]:
        issued_at = self.issued_at if isfinite(self.issued_at) else None
        return {
            "sub": self.user_id,
            "roles": list(self.roles),
            "iat": issued_at,
            "jti": self.token_id,
            "agents": list(self.agents),
        }

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Errors: ValueError, for anything that `as_json` does not write."""
        match value:
            case {"sub": str(sub), "roles": [*roles], "iat": iat, "jti": jti, "agents": [*agents]}:
                pass
            case _:
                raise ValueError("this is nobody's authority")
        if not (roles and isinstance(iat, int | float | None) and isinstance(jti, str | None)):
            raise ValueError("this is nobody's authority")
        return cls(UserId(sub), _texts(roles), -inf if iat is None else iat, jti, _texts(agents))


def _texts(values: list[Json]) -> tuple[str, ...]:
    found = tuple(value for value in values if isinstance(value, str))
    if len(found) != len(values):
        raise ValueError("this is nobody's authority")
    return found
