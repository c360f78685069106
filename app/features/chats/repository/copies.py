"""Copies of chats in PostgreSQL: the chat's row, and the messages of one path, each by one statement.

Whatever columns the tables have are copied, but for those that a copy has of its own.
"""

from sqlalchemy import BigInteger, Insert, Text, bindparam, case, cast, func, insert, literal, select, tuple_

from app.features.chats.domain.message import MessageStatus
from app.features.chats.repository.paths import PLACE, is_on, path_of_branch
from app.features.chats.tables import CHATS, MESSAGES

_ANEW = ("id", "branch", "branches", "created_at", "updated_at", "deleted_at")


def _copy_chat() -> Insert:
    """Copy the chat `:chat`, under the title `:title` where that is not null."""
    kept = [column for column in CHATS.columns if column.computed is None and column.name not in _ANEW]
    title = func.coalesce(cast(bindparam("title"), CHATS.c.title.type), CHATS.c.title)
    wanted = select(*(title if column.name == "title" else column for column in kept))
    live = wanted.where(CHATS.c.id == bindparam("chat"), CHATS.c.deleted_at.is_(None))
    return insert(CHATS).from_select([column.name for column in kept], live).returning(CHATS.c.id)


def _copy_path() -> Insert:
    """Copy the path of a branch up to a position, and without it; ids are in its order: drawn behind the sorting."""
    path = path_of_branch()
    until = tuple_(bindparam("until_place", type_=BigInteger()), bindparam("until_id", type_=BigInteger()))
    said = (
        select(MESSAGES)
        .join(path, is_on(path))
        .where(
            MESSAGES.c.chat_id == bindparam("chat"),
            MESSAGES.c.deleted_at.is_(None),
            tuple_(PLACE, MESSAGES.c.id) < until,
        )
        .order_by(PLACE, MESSAGES.c.id)
        .subquery("said")
    )
    number = func.nextval(func.pg_get_serial_sequence(MESSAGES.name, "id"))
    copied = select(said, number.label("copy_id")).cte("copied")
    asked = copied.alias("asked")
    anew = {
        "id": copied.c.copy_id,
        "chat_id": bindparam("copy", type_=BigInteger()),
        "question_id": asked.c.copy_id,
        "branch": literal(0),
        "status": case(
            (copied.c.status == MessageStatus.PENDING, literal(MessageStatus.INTERRUPTED, Text())),
            else_=copied.c.status,
        ),
    }
    names = [column.name for column in MESSAGES.columns if column.computed is None]
    values = select(*(anew.get(name, copied.c[name]) for name in names))
    joined = values.select_from(copied.outerjoin(asked, asked.c.id == copied.c.question_id))
    return insert(MESSAGES).from_select(names, joined)


COPY_CHAT, COPY_PATH = _copy_chat(), _copy_path()
