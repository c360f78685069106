"""The tables of chats and messages. Rows never leave the repository."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.features.chats.domain.chat import TITLE_LIMIT_CHARS
from app.infra.db.base import Base, Dated, Numbered

WORDS_LIMIT_CHARS = 100_000
"""of a message, in which words are looked for: an answer may be longer"""
# ASCII but letters and digits; what has no letter in it of Latin-1, punctuation, currencies, arrows to dingbats; the
# same of CJK and in full width; emoji. Neither the joiners (U+200C, U+200D) nor marks, which belong to their words.
_NO_WORD = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    r"\u2000-\u200b\u2010-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u303f\ufe30-\ufe4f"
    r"\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufffc-\uffff\U0001f000-\U0001faff"
)


def words_of(column: str) -> str:
    """Write the words of a text in SQL, as PostgreSQL spells it back: whole, in lower case, of whatever language.

    PostgreSQL's own parser joins words into addresses, paths and numbers, takes other marks than ASCII's for letters
    where the database's locale is C, and works a minute on 100,000 characters of "a_a_a": so all that is no letter and
    no digit is taken out first, by its number. No positions are kept: nothing is ranked, no phrase is found.
    """
    spaced = f"""regexp_replace("left"({column}, {WORDS_LIMIT_CHARS}), '[{_NO_WORD}]+'::text, ' '::text, 'g'::text)"""
    return f"strip(to_tsvector('simple'::regconfig, {spaced}))"


class ChatRow(Numbered, Dated, Base):
    __tablename__ = "chats"
    __table_args__ = (Index(None, "user_id", "id"),)

    user_id: Mapped[str] = mapped_column(String(255))
    title: Mapped[str | None] = mapped_column(String(TITLE_LIMIT_CHARS))
    agent: Mapped[str | None] = mapped_column(String(255))
    # json keeps a document as it was written; jsonb would spell 1e308 out in 309 digits, past the size we checked.
    # Any: JSON of the client's own making. The attribute is not `metadata`, which SQLAlchemy keeps for itself.
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    context: Mapped[str | None] = mapped_column(Text)
    deleted_at: Mapped[datetime | None]
    branch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    branches: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class MessageRow(Numbered, Dated, Base):
    """`question_id` is the message that an agent's answer answers. Neither it nor the run is a foreign key: messages
    are never removed alone, and a run may be forgotten while what was said in it stays.
    """

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'assistant', 'system')", name="role"),
        CheckConstraint("status IN ('complete', 'pending', 'failed', 'interrupted')", name="status"),
        Index(None, "chat_id", "id"),
        # what is not in the index yet, each search reads through: of 4 MB, the default, for 40 ms
        Index(None, "search", postgresql_using="gin", postgresql_with={"gin_pending_list_limit": 64}),
        # a history is read by turns: while one is answered, the questions of the next may be waiting already
        Index("ix_messages_place", "chat_id", "branch", text("coalesce(question_id, id)"), "id"),
    )

    chat_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("chats.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    # never read: what is searched is the index
    search: Mapped[str] = mapped_column(TSVECTOR, Computed(words_of("content"), persisted=True), deferred=True)
    in_prompt: Mapped[bool] = mapped_column(server_default=text("true"))
    status: Mapped[str] = mapped_column(String(16))
    run_id: Mapped[UUID | None] = mapped_column(Uuid)
    question_id: Mapped[int | None] = mapped_column(BigInteger)
    # null where there are none. Any: JSON of our own, see domain/attached.py
    attachments: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    branch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    deleted_at: Mapped[datetime | None]


class BranchRow(Base):
    """A branch follows its parent up to, and without, the position `until_place`, `until_id`. Branch 0 has no row."""

    __tablename__ = "chat_branches"

    chat_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("chats.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    parent: Mapped[int] = mapped_column(Integer)
    until_place: Mapped[int] = mapped_column(BigInteger)
    until_id: Mapped[int] = mapped_column(BigInteger)


# for statements that need no tracked rows
CHATS = cast("Table", ChatRow.__table__)
MESSAGES = cast("Table", MessageRow.__table__)
BRANCHES = cast("Table", BranchRow.__table__)
