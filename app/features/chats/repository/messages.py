"""Messages in PostgreSQL."""

from collections.abc import Sequence

from advanced_alchemy.filters import ComparisonFilter, NullFilter
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import func, select, update

from app.features.chats.domain.message import (
    Message,
    MessageChange,
    MessageRole,
    MessageStatus,
    NewMessage,
    OwnedMessage,
)
from app.features.chats.repository.filters import filters_of, is_storable_id
from app.features.chats.tables import ChatRow, MessageRow
from app.infra.db.engine import session_of
from app.kernel.ids import ChatId, MessageId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx

_OF_LIVE_CHAT = MessageRow.chat_id.in_(select(ChatRow.id).where(ChatRow.deleted_at.is_(None)))


class MessageRows(SQLAlchemyAsyncRepository[MessageRow]):
    model_type = MessageRow


class PostgresMessageStore:
    async def add(self, tx: Tx, draft: NewMessage) -> Message | None:
        if not is_storable_id(draft.chat_id):
            return None
        session = session_of(tx)
        # locks the chat's row until the commit (see the port), and marks the chat as active now
        touched = (
            update(ChatRow)
            .where(ChatRow.id == draft.chat_id, ChatRow.deleted_at.is_(None))
            .values(updated_at=func.now())
            .returning(ChatRow.id)
        )
        if await session.scalar(touched, execution_options={"synchronize_session": False}) is None:
            return None
        row = MessageRow(chat_id=draft.chat_id, role=draft.role, content=draft.content, status=draft.status)
        return _message(await MessageRows(session=session).add(row))

    async def find(self, tx: Tx, message_id: MessageId) -> OwnedMessage | None:
        if not is_storable_id(message_id):
            return None
        owned = (
            select(MessageRow, ChatRow.user_id)
            .join(ChatRow, ChatRow.id == MessageRow.chat_id)
            .where(MessageRow.id == message_id, MessageRow.deleted_at.is_(None), ChatRow.deleted_at.is_(None))
        )
        found = (await session_of(tx).execute(owned)).one_or_none()
        return OwnedMessage(_message(found[0]), UserId(found[1])) if found else None

    async def list(self, tx: Tx, query: ListQuery, *, chat_id: ChatId | None) -> Page[Message]:
        if chat_id is not None and not is_storable_id(chat_id):
            return Page((), 0, query.limit, query.offset)
        filters = [NullFilter("deleted_at"), *filters_of(query)]
        if chat_id is not None:
            filters.append(ComparisonFilter("chat_id", "eq", chat_id))
        rows, total = await MessageRows(session=session_of(tx)).get_many_and_count(
            _OF_LIVE_CHAT, *filters, count_with_window_function=False
        )
        return Page([_message(row) for row in rows], total, query.limit, query.offset)

    async def read_after(self, tx: Tx, chat_id: ChatId, *, after: int, limit: int) -> Sequence[Message]:
        following = (
            select(MessageRow)
            .where(MessageRow.chat_id == chat_id, MessageRow.id > after, MessageRow.deleted_at.is_(None), _OF_LIVE_CHAT)
            .order_by(MessageRow.id)
            .limit(limit)
        )
        return [_message(row) for row in await session_of(tx).scalars(following)]

    async def read_history(
        self, tx: Tx, chat_id: ChatId, *, before: MessageId, limit_messages: int, limit_bytes: int
    ) -> Sequence[Message]:
        newest = (
            select(MessageRow.id, func.octet_length(MessageRow.content).label("size_bytes"))
            .where(
                MessageRow.chat_id == chat_id,
                MessageRow.id < before,
                MessageRow.in_prompt,
                MessageRow.status == MessageStatus.COMPLETE,
                MessageRow.deleted_at.is_(None),
            )
            .order_by(MessageRow.id.desc())
            .limit(limit_messages)
            .subquery()
        )
        summed = select(
            newest.c.id, func.sum(newest.c.size_bytes).over(order_by=newest.c.id.desc()).label("from_newest_bytes")
        ).subquery()
        fitting = select(summed.c.id).where(summed.c.from_newest_bytes <= limit_bytes)
        rows = await session_of(tx).scalars(
            select(MessageRow).where(MessageRow.id.in_(fitting)).order_by(MessageRow.id)
        )
        return [_message(row) for row in rows]

    async def update(self, tx: Tx, message_id: MessageId, change: MessageChange) -> Message | None:
        fields: dict[str, object] = {"content": change.content, "in_prompt": change.in_prompt}
        values = {name: value for name, value in fields.items() if value is not None}
        if not values:
            owned = await self.find(tx, message_id)
            return owned.message if owned else None
        return await self._write(tx, message_id, values)

    async def settle(self, tx: Tx, message_id: MessageId, status: MessageStatus) -> Message | None:
        settled = update(MessageRow).where(MessageRow.id == message_id).values(status=status).returning(MessageRow)
        row = await session_of(tx).scalar(settled, execution_options={"populate_existing": True})
        return _message(row) if row else None

    async def delete(self, tx: Tx, message_id: MessageId) -> None:
        await self._write(tx, message_id, {"deleted_at": func.now()})

    async def _write(self, tx: Tx, message_id: MessageId, values: dict[str, object]) -> Message | None:
        changed = (
            update(MessageRow)
            .where(MessageRow.id == message_id, MessageRow.deleted_at.is_(None), _OF_LIVE_CHAT)
            .values(values)
            .returning(MessageRow)
        )
        options = {"populate_existing": True, "synchronize_session": False}
        row = await session_of(tx).scalar(changed, execution_options=options)
        return _message(row) if row else None


def _message(row: MessageRow) -> Message:
    return Message(
        id=MessageId(row.id),
        chat_id=ChatId(row.chat_id),
        role=MessageRole(row.role),
        content=row.content,
        in_prompt=row.in_prompt,
        status=MessageStatus(row.status),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
