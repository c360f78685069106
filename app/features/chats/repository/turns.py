"""The lease of a chat's turn, in PostgreSQL. Each method is one UPDATE whose row count is the answer.

Facts
- Of several UPDATEs of one row the later ones wait and then look at their WHERE again, at the new row (PostgreSQL
  documentation, "Read Committed Isolation Level"): exactly one taker wins.
- `now()` is the start of the transaction, so a lease is never longer than asked.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, update

from app.features.chats.domain.message import MessageStatus
from app.features.chats.tables import ChatRow, MessageRow
from app.infra.db.engine import session_of
from app.kernel.ids import ChatId
from app.kernel.transaction import Tx

_IS_LIVE = ChatRow.deleted_at.is_(None)
_IS_FREE = or_(ChatRow.turn_until.is_(None), ChatRow.turn_until < func.now())


class PostgresTurnStore:
    async def take(self, tx: Tx, chat_id: ChatId, turn_id: UUID, *, lease: timedelta) -> bool:
        values = {"turn_id": turn_id, "turn_until": func.now() + lease}
        if not await _write(tx, chat_id, _IS_LIVE, _IS_FREE, values=values):
            return False
        left_behind = (
            update(MessageRow)
            .where(MessageRow.chat_id == chat_id, MessageRow.status == MessageStatus.PENDING)
            .values(status=MessageStatus.INTERRUPTED)
        )
        await session_of(tx).execute(left_behind, execution_options={"synchronize_session": False})
        return True

    async def renew(self, tx: Tx, chat_id: ChatId, turn_id: UUID, *, lease: timedelta) -> bool:
        return await _write(
            tx, chat_id, _IS_LIVE, ChatRow.turn_id == turn_id, values={"turn_until": func.now() + lease}
        )

    async def end(self, tx: Tx, chat_id: ChatId, turn_id: UUID) -> bool:
        return await _write(tx, chat_id, ChatRow.turn_id == turn_id, values={"turn_id": None, "turn_until": None})


async def _write(tx: Tx, chat_id: ChatId, *conditions: ColumnElement[bool], values: dict[str, object]) -> bool:
    # a lease is no change of the chat that its owner should see
    leased = (
        update(ChatRow)
        .where(ChatRow.id == chat_id, *conditions)
        .values({**values, "updated_at": ChatRow.updated_at})
        .returning(ChatRow.id)
    )
    return await session_of(tx).scalar(leased, execution_options={"synchronize_session": False}) is not None
