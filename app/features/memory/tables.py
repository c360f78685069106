"""The tables of what agents keep between turns.

Facts
- A person's memories are few (a thousand), so a search reads all of them by their owner and needs no index of words.
- `search` holds the words as they are and as English stems them, so that other languages are found word by word.
- A chat, a task or a run that a note belongs to is no foreign key: infra's rows may go, and the note is its owner's.
"""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import ARRAY, JSON, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base, Numbered


class MemoryRow(Numbered, Base):
    """`digest` is of the text, so that nothing is remembered twice."""

    __tablename__ = "memories"
    __table_args__ = (UniqueConstraint("owner", "digest"), Index(None, "owner", "id"))

    owner: Mapped[str] = mapped_column(String(255))
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    text: Mapped[str] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(ARRAY(String(64)))
    search: Mapped[str] = mapped_column(TSVECTOR)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class NoteRow(Base):
    __tablename__ = "agent_notes"
    __table_args__ = (Index(None, "owner", "written_at"),)

    owner: Mapped[str] = mapped_column(String(255), primary_key=True)
    thread: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    revision: Mapped[int] = mapped_column(Integer)
    # Any: JSON, of a shape of each tool's own
    document: Mapped[Any] = mapped_column(JSON, nullable=False)
    written_at: Mapped[datetime] = mapped_column(server_default=func.now())


MEMORIES = cast("Table", MemoryRow.__table__)
NOTES = cast("Table", NoteRow.__table__)
