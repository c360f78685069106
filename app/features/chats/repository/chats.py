"""Chats in PostgreSQL."""

from typing import Any

from advanced_alchemy.filters import ComparisonFilter, NullFilter
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import defer

from app.features.chats.domain.chat import Chat, ChatChange, NewChat
from app.features.chats.repository.filters import filters_of, is_storable_id
from app.features.chats.tables import CHATS, ChatRow
from app.infra.db.engine import session_of
from app.kernel.ids import ChatId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx
from app.kernel.values import KEPT

# built once, and tracks no row: an exchange begins with it
_FIND = select(
    *(
        CHATS.c[name]
        for name in ("id", "user_id", "title", "agent", "created_at", "updated_at", "deleted_at", "context")
    ),
    *(CHATS.c[name] for name in ("branch", "branches")),
    CHATS.c.metadata.label("details"),
).where(CHATS.c.id == bindparam("chat"))

_ENTITLE = (
    update(CHATS)
    .where(CHATS.c.id == bindparam("chat"), CHATS.c.title.is_(None))
    .values(title=bindparam("new_title"), updated_at=func.now())
)


class ChatRows(SQLAlchemyAsyncRepository[ChatRow]):
    model_type = ChatRow


class PostgresChatStore:
    async def add(self, tx: Tx, draft: NewChat) -> Chat:
        row = ChatRow(
            user_id=draft.user_id,
            title=draft.title,
            agent=draft.agent,
            details=dict(draft.metadata),
            context=draft.context,
        )
        return chat_of(await ChatRows(session=session_of(tx)).add(row, auto_refresh=False))

    async def find(self, tx: Tx, chat_id: ChatId) -> Chat | None:
        chat = await self.find_kept(tx, chat_id)
        return chat if chat and chat.deleted_at is None else None

    async def find_kept(self, tx: Tx, chat_id: ChatId) -> Chat | None:
        if not is_storable_id(chat_id):
            return None
        row = (await session_of(tx).execute(_FIND, {"chat": chat_id})).first()
        return chat_of(row) if row else None

    async def list(self, tx: Tx, query: ListQuery, *, owner: UserId | None) -> Page[Chat]:
        filters = [NullFilter("deleted_at"), *filters_of(query, CHATS.c)]
        if owner is not None:
            filters.append(ComparisonFilter("user_id", "eq", owner))
        # two queries: the window function counts nothing on a page past the end
        rows, total = await ChatRows(session=session_of(tx)).get_many_and_count(
            *filters, count_with_window_function=False, load=[defer(ChatRow.context)]
        )
        return Page([_listed(row) for row in rows], total, query.limit, query.offset)

    async def update(self, tx: Tx, chat_id: ChatId, change: ChatChange) -> Chat | None:
        values: dict[str, object] = {}
        if change.title is not KEPT:
            values["title"] = change.title
        if change.agent is not KEPT:
            values["agent"] = change.agent
        if change.metadata is not KEPT:
            values["details"] = dict(change.metadata)
        if change.context is not KEPT:
            values["context"] = change.context
        return await self._write(tx, chat_id, values) if values else await self.find(tx, chat_id)

    async def delete(self, tx: Tx, chat_id: ChatId) -> None:
        await self._write(tx, chat_id, {"deleted_at": func.now(), "updated_at": ChatRow.updated_at})

    async def restore(self, tx: Tx, chat_id: ChatId) -> Chat | None:
        restored = (
            update(ChatRow).where(ChatRow.id == chat_id).values(deleted_at=None, updated_at=ChatRow.updated_at)
        ).returning(ChatRow)
        row = await session_of(tx).scalar(restored, execution_options={"populate_existing": True})
        return chat_of(row) if row else None

    async def entitle(self, tx: Tx, chat_id: ChatId, title: str) -> None:
        await session_of(tx).execute(_ENTITLE, {"chat": chat_id, "new_title": title})

    async def _write(self, tx: Tx, chat_id: ChatId, values: dict[str, object]) -> Chat | None:
        changed = update(ChatRow).where(ChatRow.id == chat_id, ChatRow.deleted_at.is_(None)).values(values)
        row = await session_of(tx).scalar(changed.returning(ChatRow), execution_options={"populate_existing": True})
        return chat_of(row) if row else None


# Any: a tracked row, or one of columns, which has no type of its own
def chat_of(row: Any) -> Chat:
    return _listed(row, context=row.context)


def _listed(row: Any, *, context: str | None = None) -> Chat:
    """Read what a list shows, which leaves out what is pinned."""
    return Chat(
        id=ChatId(row.id),
        user_id=UserId(row.user_id),
        title=row.title,
        agent=row.agent,
        metadata=row.details,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        context=context,
        branch=row.branch,
        branches=row.branches,
    )
