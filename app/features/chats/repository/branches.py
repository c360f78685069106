"""Branches of chats in PostgreSQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, exists, func, insert, select, true, tuple_, union_all, update

from app.features.chats.domain.branch import Departure, Head, Position, Spot
from app.features.chats.domain.chat import Chat
from app.features.chats.repository.chats import chat_of
from app.features.chats.repository.copies import COPY_CHAT, COPY_PATH
from app.features.chats.repository.filters import is_storable_id
from app.features.chats.repository.messages import SHOWN, shown
from app.features.chats.repository.paths import PLACE
from app.features.chats.tables import BRANCHES, CHATS, MESSAGES, ChatRow
from app.infra.db.engine import session_of
from app.kernel.ids import MAX_ID, ChatId, MessageId, UserId
from app.kernel.transaction import Tx

_EARLIER = MESSAGES.alias("earlier")
_EARLIER_PLACE = func.coalesce(_EARLIER.c.question_id, _EARLIER.c.id)
_BEGINS_ITS_BRANCH = ~exists().where(
    _EARLIER.c.chat_id == MESSAGES.c.chat_id,
    _EARLIER.c.branch == MESSAGES.c.branch,
    tuple_(_EARLIER_PLACE, _EARLIER.c.id) < tuple_(PLACE, MESSAGES.c.id),
)
_SPOT = (
    select(
        *SHOWN,
        MESSAGES.c.question_id,
        CHATS.c.user_id,
        *(BRANCHES.c[name] for name in ("parent", "until_place", "until_id")),
        _BEGINS_ITS_BRANCH,
    )
    .join_from(MESSAGES, CHATS, CHATS.c.id == MESSAGES.c.chat_id)
    .outerjoin(BRANCHES, (BRANCHES.c.chat_id == MESSAGES.c.chat_id) & (BRANCHES.c.number == MESSAGES.c.branch))
    .where(MESSAGES.c.id == bindparam("message"), MESSAGES.c.deleted_at.is_(None), CHATS.c.deleted_at.is_(None))
)

# The update locks the chat's row: branches are counted one by one, and what is written next is in the new one.
_TOUCHED = (
    update(CHATS)
    .where(CHATS.c.id == bindparam("chat"), CHATS.c.deleted_at.is_(None))
    .values(branches=CHATS.c.branches + 1, branch=CHATS.c.branches + 1, updated_at=func.now())
    .returning(CHATS.c.id, CHATS.c.branches)
    .cte("touched")
)
_BEGIN = (
    insert(BRANCHES)
    .from_select(
        ["chat_id", "number", "parent", "until_place", "until_id"],
        select(
            _TOUCHED.c.id,
            _TOUCHED.c.branches,
            *(bindparam(name, type_=BRANCHES.c[name].type) for name in ("parent", "until_place", "until_id")),
        ),
    )
    .returning(BRANCHES.c.number)
)

# Who goes on behind each departure: those that left there, and who they left.
_LEFT = select(BRANCHES.c.parent, BRANCHES.c.until_place, BRANCHES.c.until_id).where(
    BRANCHES.c.chat_id == bindparam("chat")
)
_GOING_ON = union_all(
    _LEFT.add_columns(BRANCHES.c.number.label("branch")), _LEFT.distinct().add_columns(BRANCHES.c.parent)
).subquery("going_on")
_LATER = MESSAGES.alias("later")
_FIRST = (
    select(MESSAGES.c.id, MESSAGES.c.question_id)
    .where(
        MESSAGES.c.chat_id == bindparam("chat"),
        MESSAGES.c.branch == _GOING_ON.c.branch,
        tuple_(PLACE, MESSAGES.c.id) >= tuple_(_GOING_ON.c.until_place, _GOING_ON.c.until_id),
        MESSAGES.c.deleted_at.is_(None),
    )
    .order_by(PLACE, MESSAGES.c.id)
    .limit(1)
    .lateral("first")
)
# of the answers to one question the newest: it took the place of the others
_NEWEST_ANSWER = (
    select(func.max(_LATER.c.id))
    .where(
        _LATER.c.chat_id == bindparam("chat"),
        _LATER.c.branch == _GOING_ON.c.branch,
        func.coalesce(_LATER.c.question_id, _LATER.c.id) == _FIRST.c.question_id,
        _LATER.c.question_id.is_not(None),
        _LATER.c.deleted_at.is_(None),
    )
    .scalar_subquery()
)
_HEADS = select(
    *(_GOING_ON.c[name] for name in ("parent", "until_place", "until_id", "branch")),
    func.coalesce(_NEWEST_ANSWER, _FIRST.c.id),
).select_from(_GOING_ON.join(_FIRST, true()))


class PostgresBranchStore:
    async def locate(self, tx: Tx, message_id: MessageId) -> Spot | None:
        if not is_storable_id(message_id):
            return None
        row = (await session_of(tx).execute(_SPOT, {"message": message_id})).first()
        if row is None:
            return None
        question, owner, parent, place, id_, is_first = row[len(SHOWN) :]
        departure = None if parent is None else Departure(parent, Position(place, id_))
        return Spot(shown(row[: len(SHOWN)]), UserId(owner), question, departure, is_first)

    async def begin(self, tx: Tx, chat_id: ChatId, departure: Departure) -> int | None:
        place, id_ = departure.until
        values = {"chat": chat_id, "parent": departure.parent, "until_place": place, "until_id": id_}
        row = (await session_of(tx).execute(_BEGIN, values)).first()
        return None if row is None else int(row.number)

    async def select(self, tx: Tx, chat_id: ChatId, branch: int) -> Chat | None:
        chosen = update(ChatRow).where(ChatRow.id == chat_id, ChatRow.deleted_at.is_(None)).values(branch=branch)
        row = await session_of(tx).scalar(chosen.returning(ChatRow), execution_options={"populate_existing": True})
        return chat_of(row) if row else None

    async def heads(self, tx: Tx, chat_id: ChatId) -> Sequence[Head]:
        rows = await session_of(tx).execute(_HEADS, {"chat": chat_id})
        return [_head(row) for row in rows]

    async def copy(
        self, tx: Tx, chat_id: ChatId, *, branch: int, until: Position | None, title: str | None
    ) -> Chat | None:
        session = session_of(tx)
        made = (await session.execute(COPY_CHAT, {"chat": chat_id, "title": title})).scalar_one_or_none()
        if made is None:
            return None
        place, id_ = until or (MAX_ID, MAX_ID)
        values = {"chat": chat_id, "branch": branch, "copy": made, "until_place": place, "until_id": id_}
        await session.execute(COPY_PATH, values)
        return chat_of((await session.execute(select(ChatRow).where(ChatRow.id == made))).scalar_one())


def _head(row: Sequence[Any]) -> Head:  # Any: a row of columns has no type of its own
    parent, place, id_, branch, message = row
    return Head(Departure(parent, Position(place, id_)), branch, message)
