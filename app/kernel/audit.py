"""What is written down of acts that somebody may ask about later: who did what to whose object, when, in which request.

What lives here: the values, and the port of whoever acts. What does not: where it is kept, and who may read it.
Rule: an act is recorded in the transaction that does it, so that neither is there without the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class Act:
    """`action` is a noun and what was done to it (`chat.deleted`); `owner` is whose it is, None where it is nobody's.

    `who` is empty where the program acted by itself. `agents` are those that acted in the name of `who`, if any.
    `details` are small, and hold no text of a conversation.
    """

    action: str
    object_id: str
    who: UserId
    owner: UserId | None = None
    agents: tuple[str, ...] = ()
    request_id: str = ""
    details: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def of(
        cls, who: Principal, action: str, object_id: object, *, owner: UserId | None = None, **details: Json
    ) -> Self:
        agents = () if who.acting is None else who.acting.agents
        return cls(action, str(object_id), who.user_id, owner, agents, who.request_id, details)


class AuditTrail(Protocol):
    async def record(self, tx: Tx, act: Act) -> None:
        """Write an act down with the caller's transaction. Errors: StorageUnavailable."""
        ...


async def record_on_others(
    trail: AuditTrail, tx: Tx, who: Principal, action: str, object_id: object, *, owner: UserId
) -> None:
    """Write down what somebody does to an object of somebody else; what people do to their own is theirs."""
    if who.user_id != owner:
        await trail.record(tx, Act.of(who, action, object_id, owner=owner))
