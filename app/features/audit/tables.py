"""The table of the audit. A trigger, which the migration makes, refuses every change of a row, and every removal but
that of a row that is old, by who said in the same transaction that it is for that.
"""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import ARRAY, JSON, Index, String, Table, func
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base, Numbered


class AuditRow(Numbered, Base):
    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), Index(None, "who", "id"), Index(None, "owner", "id"))

    at: Mapped[datetime] = mapped_column(server_default=func.now())
    who: Mapped[str] = mapped_column(String(255))
    owner: Mapped[str | None] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(64))
    object_id: Mapped[str] = mapped_column(String(255))
    agents: Mapped[list[str]] = mapped_column(ARRAY(String(255)))
    request_id: Mapped[str] = mapped_column(String(255))
    # Any: JSON, of a shape of each action's own
    details: Mapped[dict[str, Any]] = mapped_column(JSON)


AUDIT = cast("Table", AuditRow.__table__)
