"""Messages in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from advanced_alchemy.filters import ComparisonFilter, NullFilter
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import CTE, BigInteger, Integer, Select, bindparam, case, func, insert, select, true, union_all, update

from app.features.chats.domain.attached import read_attached, write_attached
from app.features.chats.domain.message import (
    Message,
    MessageChange,
    MessageRole,
    MessageStatus,
    NewAnswer,
    NewMessage,
    OwnedMessage,
    Said,
    SaidBefore,
)
from app.features.chats.repository.filters import filters_of, is_storable_id
from app.features.chats.repository.paths import IN_THE_FIRST_BRANCH, PLACE, is_on, path_of_branch
from app.features.chats.tables import CHATS, MESSAGES, ChatRow, MessageRow
from app.infra.db.engine import rows_of, session_of
from app.kernel.ids import ChatId, MessageId, RunId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx

_OF_LIVE_CHAT = MessageRow.chat_id.in_(select(ChatRow.id).where(ChatRow.deleted_at.is_(None)))


# What an exchange needs is built once and tracks no rows: building and tracking cost more than running the statements.

_NAMES = "id chat_id role content in_prompt status created_at updated_at run_id attachments branch"
SHOWN = tuple(MESSAGES.c[name] for name in _NAMES.split())

# A parameter of a statement that updates is not named like a column of what it updates: SQLAlchemy would set that.
# The update locks the chat's row until the commit (see the port), and marks the chat as active now. It tells the branch
# that the chat goes on in at this moment: one that was waited for is seen.
_TOUCHED = (
    update(CHATS)
    .where(CHATS.c.id == bindparam("chat"), CHATS.c.deleted_at.is_(None))
    .values(updated_at=func.now())
    .returning(CHATS.c.id, CHATS.c.branch)
    .cte("touched")
)
_ADD = (
    insert(MESSAGES)
    .from_select(
        ["chat_id", "branch", "role", "content", "status", "run_id", "attachments"],
        select(
            _TOUCHED.c.id,
            _TOUCHED.c.branch,
            *(
                bindparam(name, type_=MESSAGES.c[name].type)
                for name in ("role", "content", "status", "run_id", "attachments")
            ),
        ),
    )
    .returning(*SHOWN)
)

# An answer enters a deleted chat too, where a change would show when it is restored.
_ANSWERED = (
    update(CHATS)
    .where(CHATS.c.id == select(MESSAGES.c.chat_id).where(MESSAGES.c.id == bindparam("question")).scalar_subquery())
    .values(updated_at=case((CHATS.c.deleted_at.is_(None), func.now()), else_=CHATS.c.updated_at))
    .returning(CHATS.c.id)
    .cte("answered")
)
_ADD_ANSWER = (
    insert(MESSAGES)
    .from_select(
        ["chat_id", "role", "question_id", "content", "status", "run_id", "branch"],
        select(
            _ANSWERED.c.id,
            bindparam("role", MessageRole.ASSISTANT, type_=MESSAGES.c.role.type),
            bindparam("question", type_=BigInteger()),
            *(bindparam(name, type_=MESSAGES.c[name].type) for name in ("content", "status", "run_id")),
            bindparam("to_branch", type_=Integer()),
        ),
    )
    .returning(*SHOWN)
)
_REPLACE = (
    update(MESSAGES)
    .where(
        MESSAGES.c.chat_id == bindparam("chat"),
        MESSAGES.c.branch == bindparam("in_branch", type_=Integer()),
        bindparam("question", type_=BigInteger()) == PLACE,
        MESSAGES.c.question_id.is_not(None),
        MESSAGES.c.in_prompt,
    )
    .values(in_prompt=False)
)
# every one of them gets the transaction's own moment, by which they are found again
_TAKE_OUT = (
    update(MESSAGES)
    .where(MESSAGES.c.chat_id == bindparam("chat"), MESSAGES.c.in_prompt, MESSAGES.c.deleted_at.is_(None))
    .values(in_prompt=False, updated_at=func.now())
    .returning(MESSAGES.c.updated_at)
)
_PUT_BACK = (
    update(MESSAGES)
    .where(
        MESSAGES.c.chat_id == bindparam("chat"),
        ~MESSAGES.c.in_prompt,
        MESSAGES.c.updated_at == bindparam("at"),
        MESSAGES.c.deleted_at.is_(None),
    )
    .values(in_prompt=True, updated_at=func.now())
    .returning(MESSAGES.c.id)
)
# the question may be of another branch than what the run answered
_TURN = union_all(
    select(*SHOWN).where(
        MESSAGES.c.id == bindparam("question", type_=BigInteger()), MESSAGES.c.chat_id == bindparam("chat")
    ),
    select(*SHOWN).where(
        MESSAGES.c.chat_id == bindparam("chat"),
        MESSAGES.c.branch == bindparam("branch", type_=Integer()),
        bindparam("question", type_=BigInteger()) == PLACE,
        MESSAGES.c.question_id.is_not(None),
        MESSAGES.c.run_id == bindparam("run"),
    ),
).order_by("id")
_QUESTIONS = MESSAGES.alias("questions")
_ANSWERS = (
    select(*(_QUESTIONS.c[column.name] for column in SHOWN), *SHOWN)
    .join_from(MESSAGES, _QUESTIONS, _QUESTIONS.c.id == MESSAGES.c.question_id)
    .where(
        MESSAGES.c.chat_id == bindparam("chat"),
        MESSAGES.c.id > bindparam("after", type_=BigInteger()),
        MESSAGES.c.deleted_at.is_(None),
        _QUESTIONS.c.deleted_at.is_(None),
    )
    .order_by(MESSAGES.c.id)
    .limit(bindparam("most", type_=Integer()))
)
_AFTER = (
    select(*SHOWN)
    .join_from(MESSAGES, CHATS, CHATS.c.id == MESSAGES.c.chat_id)
    .where(
        MESSAGES.c.chat_id == bindparam("chat"),
        MESSAGES.c.id > bindparam("after", type_=BigInteger()),
        MESSAGES.c.deleted_at.is_(None),
        CHATS.c.deleted_at.is_(None),
    )
    .order_by(MESSAGES.c.id)
    .limit(bindparam("most", type_=Integer()))
)
_FIND = (
    select(*SHOWN, CHATS.c.user_id, CHATS.c.context)
    .join_from(MESSAGES, CHATS, CHATS.c.id == MESSAGES.c.chat_id)
    .where(MESSAGES.c.id == bindparam("message"), MESSAGES.c.deleted_at.is_(None), CHATS.c.deleted_at.is_(None))
)
_IS_COMPLETE = MESSAGES.c.status == MessageStatus.COMPLETE
_SETTLE = (
    update(MESSAGES)
    .where(MESSAGES.c.id == bindparam("message"))
    .values(
        status=case((_IS_COMPLETE, MessageStatus.COMPLETE), else_=bindparam("status", type_=MESSAGES.c.status.type))
    )
    .returning(*SHOWN)
)
_MOST = bindparam("limit_messages", type_=Integer())
_NEWEST = (
    select(MESSAGES.c.id, PLACE.label("place"), func.octet_length(MESSAGES.c.content).label("size_bytes"))
    .where(
        MESSAGES.c.chat_id == bindparam("chat"),
        bindparam("before", type_=BigInteger()) > PLACE,
        MESSAGES.c.in_prompt,
        _IS_COMPLETE,
        MESSAGES.c.deleted_at.is_(None),
    )
    .order_by(PLACE.desc(), MESSAGES.c.id.desc())
    .limit(_MOST)
)


def _newest_on(path: CTE) -> Select[Any]:  # Any: a row of columns has no type of its own
    """Take the newest of each stretch, and of these the newest: each is read from the end of its piece of the index."""
    each = _NEWEST.where(is_on(path)).lateral("each")
    all_of_them = select(each.c.id, each.c.place, each.c.size_bytes).select_from(path.join(each, true()))
    return all_of_them.order_by(each.c.place.desc(), each.c.id.desc()).limit(_MOST)


def _history(newest: Select[Any]) -> Select[Any]:  # Any: as above
    known = newest.subquery("newest")
    from_newest = func.sum(known.c.size_bytes).over(order_by=(known.c.place.desc(), known.c.id.desc()))
    summed = select(known.c.id, from_newest.label("from_newest_bytes")).subquery("summed")
    fitting = select(summed.c.id).where(summed.c.from_newest_bytes <= bindparam("limit_bytes", type_=BigInteger()))
    said = select(MESSAGES.c.role, MESSAGES.c.content, MESSAGES.c.attachments)
    return said.where(MESSAGES.c.id.in_(fitting)).order_by(PLACE, MESSAGES.c.id)


# Of each the plain statement, for the branch a chat began with, and one along the path of another.
_PATH = path_of_branch()
_ANSWERS_FIRST, _ANSWERS_ON_PATH = _ANSWERS.where(IN_THE_FIRST_BRANCH), _ANSWERS.where(is_on(_PATH))
_AFTER_FIRST, _AFTER_ON_PATH = _AFTER.where(IN_THE_FIRST_BRANCH), _AFTER.where(is_on(_PATH))
_HISTORY_FIRST, _HISTORY_ON_PATH = _history(_NEWEST.where(IN_THE_FIRST_BRANCH)), _history(_newest_on(_PATH))


class MessageRows(SQLAlchemyAsyncRepository[MessageRow]):
    model_type = MessageRow


class PostgresMessageStore:
    async def add(self, tx: Tx, draft: NewMessage) -> Message | None:
        if not is_storable_id(draft.chat_id):
            return None
        values: dict[str, object] = {
            "chat": draft.chat_id,
            "role": draft.role,
            "content": draft.content,
            "status": draft.status,
        }
        values |= {"run_id": draft.run_id, "attachments": write_attached(draft.attachments)}
        row = (await session_of(tx).execute(_ADD, values)).first()
        return shown(row) if row else None

    async def add_answer(self, tx: Tx, answer: NewAnswer) -> Message | None:
        session = session_of(tx)
        values = {"question": answer.question, "content": answer.content, "status": answer.status}
        row = (
            await session.execute(_ADD_ANSWER, {**values, "run_id": answer.run_id, "to_branch": answer.branch})
        ).first()
        return shown(row) if row else None

    async def replace_answers(self, tx: Tx, chat_id: ChatId, question: MessageId, *, branch: int) -> None:
        await session_of(tx).execute(_REPLACE, {"chat": chat_id, "question": question, "in_branch": branch})

    async def read_turn(
        self, tx: Tx, chat_id: ChatId, question: MessageId, run_id: RunId, *, branch: int
    ) -> Sequence[Message]:
        values = {"chat": chat_id, "question": question, "run": run_id, "branch": branch}
        return [shown(row) for row in await session_of(tx).execute(_TURN, values)]

    async def read_answers(
        self, tx: Tx, chat_id: ChatId, *, after: int, limit: int, branch: int
    ) -> Sequence[tuple[Message, Message]]:
        values = {"chat": chat_id, "after": after, "most": limit}
        rows = await (
            session_of(tx).execute(_ANSWERS_ON_PATH, {**values, "branch": branch})
            if branch
            else session_of(tx).execute(_ANSWERS_FIRST, values)
        )
        return [(shown(row[: len(SHOWN)]), shown(row[len(SHOWN) :])) for row in rows]

    async def find(self, tx: Tx, message_id: MessageId) -> OwnedMessage | None:
        if not is_storable_id(message_id):
            return None
        found = await rows_of(tx, _FIND, {"message": message_id})
        if not found:
            return None
        *said, owner, pinned = found[0]
        return OwnedMessage(shown(said), UserId(owner), pinned)

    async def list(self, tx: Tx, query: ListQuery, *, chat_id: ChatId | None) -> Page[Message]:
        if chat_id is not None and not is_storable_id(chat_id):
            return Page((), 0, query.limit, query.offset)
        filters = [NullFilter("deleted_at"), *filters_of(query, MESSAGES.c)]
        if chat_id is not None:
            filters.append(ComparisonFilter("chat_id", "eq", chat_id))
        rows, total = await MessageRows(session=session_of(tx)).get_many_and_count(
            _OF_LIVE_CHAT, *filters, count_with_window_function=False
        )
        return Page([_message(row) for row in rows], total, query.limit, query.offset)

    async def read_after(
        self, tx: Tx, chat_id: ChatId, *, after: int, limit: int, branch: int | None = None
    ) -> Sequence[Message]:
        values = {"chat": chat_id, "after": after, "most": limit}
        if branch:
            rows = await session_of(tx).execute(_AFTER_ON_PATH, {**values, "branch": branch})
        else:
            rows = await session_of(tx).execute(_AFTER if branch is None else _AFTER_FIRST, values)
        return [shown(row) for row in rows]

    async def read_history(
        self, tx: Tx, chat_id: ChatId, *, before: MessageId, branch: int, limit_messages: int, limit_bytes: int
    ) -> Sequence[Said]:
        values = {"chat": chat_id, "before": before, "limit_messages": limit_messages, "limit_bytes": limit_bytes}
        statement = _HISTORY_ON_PATH if branch else _HISTORY_FIRST
        rows = await rows_of(tx, statement, values | {"branch": branch})
        return [SaidBefore(_ROLES[role], content, read_attached(files)) for role, content, files in rows]

    async def update(self, tx: Tx, message_id: MessageId, change: MessageChange) -> Message | None:
        fields: dict[str, object] = {"content": change.content, "in_prompt": change.in_prompt}
        values = {name: value for name, value in fields.items() if value is not None}
        if not values:
            owned = await self.find(tx, message_id)
            return owned.message if owned else None
        return await self._write(tx, message_id, values)

    async def take_all_out(self, tx: Tx, chat_id: ChatId) -> tuple[int, datetime | None]:
        changed = (await session_of(tx).execute(_TAKE_OUT, {"chat": chat_id})).scalars().all()
        return len(changed), changed[0] if changed else None

    async def put_back(self, tx: Tx, chat_id: ChatId, *, taken_out_at: datetime) -> int:
        values = {"chat": chat_id, "at": taken_out_at}
        return len((await session_of(tx).execute(_PUT_BACK, values)).scalars().all())

    async def settle(self, tx: Tx, message_id: MessageId, status: MessageStatus) -> Message | None:
        row = (await session_of(tx).execute(_SETTLE, {"message": message_id, "status": status})).first()
        return shown(row) if row else None

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


_ROLES = {role.value: role for role in MessageRole}
_STATUSES = {status.value: status for status in MessageStatus}


def shown(row: Sequence[Any]) -> Message:  # Any: a row of columns has no type of its own
    """Read a row of `SHOWN` by position: reading by name costs more than the rest of it."""
    id_, chat_id, role, content, in_prompt, status, created_at, updated_at, run_id, files, branch = row
    said = (_ROLES[role], content, in_prompt, _STATUSES[status])
    return Message(id_, chat_id, *said, created_at, updated_at, run_id, read_attached(files), branch)


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
        run_id=None if row.run_id is None else RunId(row.run_id),
        attachments=read_attached(row.attachments),
        branch=row.branch,
    )
