"""The lease of a chat's turn, in PostgreSQL. Each method is one statement; whether it found its row is the answer.

Facts
- Of several UPDATEs of one row the later ones wait and then look at their WHERE again, at the new row (PostgreSQL
  documentation, "Read Committed Isolation Level"): exactly one taker wins.
- `now()` is the start of the transaction, so a lease is never longer than asked.
- A lease is no change of the chat that its owner should see: `updated_at` stays.

The statements are built once: they stand in the way of every exchange, and building them costs as much as running.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, bindparam, func, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from app.features.chats.domain.message import MessageStatus
from app.features.chats.tables import CHATS, MESSAGES
from app.infra.db.engine import session_of
from app.kernel.ids import ChatId
from app.kernel.transaction import Tx

_UNTIL = func.now() + bindparam("lease", type_=Interval())
_IS_LIVE = CHATS.c.deleted_at.is_(None)
_IS_FREE = or_(CHATS.c.turn_until.is_(None), CHATS.c.turn_until < func.now())
_IS_OURS = CHATS.c.turn_id == bindparam("turn")


def _lease(*conditions: ColumnElement[bool], **values: object) -> ReturningUpdate[tuple[int]]:
    leased = update(CHATS).where(CHATS.c.id == bindparam("chat"), *conditions)
    return leased.values(**values, updated_at=CHATS.c.updated_at).returning(CHATS.c.id)


_TAKEN = _lease(_IS_LIVE, _IS_FREE, turn_id=bindparam("turn"), turn_until=_UNTIL).cte("taken")
_LEFT_BEHIND = (
    update(MESSAGES)
    .where(MESSAGES.c.chat_id.in_(select(_TAKEN.c.id)), MESSAGES.c.status == MessageStatus.PENDING)
    .values(status=MessageStatus.INTERRUPTED)
    .cte("left_behind")
)
_TAKE = select(_TAKEN.c.id).add_cte(_LEFT_BEHIND)
_RENEW = _lease(_IS_LIVE, _IS_OURS, turn_until=_UNTIL)
_END = _lease(_IS_OURS, turn_id=None, turn_until=None)


class PostgresTurnStore:
    async def take(self, tx: Tx, chat_id: ChatId, turn_id: UUID, *, lease: timedelta) -> bool:
        found = await session_of(tx).execute(_TAKE, {"chat": chat_id, "turn": turn_id, "lease": lease})
        return found.first() is not None

    async def renew(self, tx: Tx, chat_id: ChatId, turn_id: UUID, *, lease: timedelta) -> bool:
        found = await session_of(tx).execute(_RENEW, {"chat": chat_id, "turn": turn_id, "lease": lease})
        return found.first() is not None

    async def end(self, tx: Tx, chat_id: ChatId, turn_id: UUID) -> bool:
        found = await session_of(tx).execute(_END, {"chat": chat_id, "turn": turn_id})
        return found.first() is not None
