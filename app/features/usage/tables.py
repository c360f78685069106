"""The tables of usage. What was spent is the truth; accounts are counted from it, and may be lost.

Facts
- Accounts and reservations are UNLOGGED: a booking waits for no disk, and after a crash of the server they are empty
  (PostgreSQL documentation, CREATE TABLE). An account that is missed is made anew from what was spent.
- What is spent is one row a run, model and day: rows grow with runs, not with calls.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Date, Index, LargeBinary, Numeric, String, Table, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base, Dated


class UsageRow(Dated, Base):
    """`cost` in USD of what had a price; `unpriced_requests` had none. `model` is empty for tool calls."""

    __tablename__ = "usage"
    __table_args__ = (
        Index(None, "day"),
        Index(None, "user_id", "day"),
        Index("ix_usage_chat_id", "chat_id", postgresql_where=text("chat_id IS NOT NULL")),
    )

    run_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    model: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255))
    chat_id: Mapped[int | None]
    agent: Mapped[str] = mapped_column(String(255))
    requests: Mapped[int]
    tool_calls: Mapped[int]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    cost: Mapped[Decimal | None] = mapped_column(Numeric(18, 9))
    unpriced_requests: Mapped[int]
    milliseconds: Mapped[int]


class BudgetAccountRow(Base):
    """`key` is a digest; `is_counted` tells whether `spent` holds what was spent before the row was made."""

    __tablename__ = "budget_accounts"
    # half of each page stays free and no index but the key's is there, so that a row is changed within its page
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 50}},)

    key: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    spent: Mapped[int]
    held: Mapped[int]
    most: Mapped[int]
    is_counted: Mapped[bool]
    touched_at: Mapped[datetime]


class BudgetReservationRow(Base):
    """What one call under way has set aside, account by account."""

    __tablename__ = "budget_reservations"
    __table_args__ = (Index(None, "run_id"), Index(None, "expires_at"), {"prefixes": ["UNLOGGED"]})

    session: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    key: Mapped[str] = mapped_column(String(512), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(Uuid)
    accounts: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary(16)))
    amounts: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    expires_at: Mapped[datetime]


USAGE = cast("Table", UsageRow.__table__)
