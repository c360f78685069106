"""The path of a branch in PostgreSQL: which messages are on it, and where each stands.

A path is read as stretches, from the branch back to the one the chat began with: a branch's number, and the position
up to which its messages belong to the path. Positions grow along a path, so that each stretch is a piece of one index.
"""

from sqlalchemy import CTE, BigInteger, ColumnElement, Integer, and_, bindparam, func, literal, select, true, tuple_

from app.features.chats.tables import BRANCHES, MESSAGES
from app.kernel.ids import MAX_ID

# where a message stands in a model's history: an answer behind its question, whatever was said between the two
PLACE = func.coalesce(MESSAGES.c.question_id, MESSAGES.c.id)
IN_THE_FIRST_BRANCH = MESSAGES.c.branch == 0
"""the whole path of branch 0, which has no parent"""


def path_of_branch() -> CTE:
    """Give the stretches of the branch `:branch` of the chat `:chat`; `until_place` and `until_id` are the first left
    out.
    """
    end = literal(MAX_ID, BigInteger())
    stretch = select(
        bindparam("branch", type_=Integer()).label("number"), end.label("until_place"), end.label("until_id")
    ).cte("path", recursive=True)
    # one row for each step: as a plain join, all branches of the chat are read at every step
    left = (
        select(BRANCHES.c.parent, BRANCHES.c.until_place, BRANCHES.c.until_id)
        .where(BRANCHES.c.chat_id == bindparam("chat"), BRANCHES.c.number == stretch.c.number)
        .limit(1)
        .lateral("left_behind")
    )
    return stretch.union_all(
        select(left.c.parent, left.c.until_place, left.c.until_id).select_from(stretch.join(left, true()))
    )


def is_on(path: CTE) -> ColumnElement[bool]:
    until = tuple_(path.c.until_place, path.c.until_id)
    return and_(MESSAGES.c.branch == path.c.number, tuple_(PLACE, MESSAGES.c.id) < until)
