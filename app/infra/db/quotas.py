"""The ledger of the rate limits, in PostgreSQL: one row a bucket, shared by every process.

Facts
- What is lost with the server's crash are buckets, which are full then: the tables are UNLOGGED, and a booking waits
  for no disk (PostgreSQL documentation, CREATE TABLE).
- Rows are locked in the order of their keys, so that two bookings of the same keys cannot wait for each other.
- `now()` is the start of the transaction; one that had to wait for a lock reckons with a moment ago, which costs the
  caller as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import LargeBinary, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base
from app.infra.db.engine import session_of
from app.kernel.transaction import Begin


class QuotaRow(Base):
    """`key` is a digest; `full_at` tells when the bucket is full again."""

    __tablename__ = "quotas"
    # half of each page stays free, so that a row is changed within its page
    __table_args__ = ({"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 50}},)

    key: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    full_at: Mapped[datetime]


class QuotaProcessRow(Base):
    __tablename__ = "quota_processes"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    seen_at: Mapped[datetime]


_BOOK = text("""
    INSERT INTO quotas AS known (key, full_at)
    SELECT key, now() + shift_s * interval '1 second'
    FROM unnest(CAST(:keys AS bytea[]), CAST(:shifts_s AS float8[])) AS asked (key, shift_s)
    ORDER BY key
    ON CONFLICT (key) DO UPDATE
    SET full_at = greatest(now(), greatest(now(), known.full_at) + (excluded.full_at - now()))
    RETURNING key, greatest(0, CAST(extract(epoch FROM full_at - now()) AS float8)) AS ahead_s
""")
_ATTEND = text("""
    INSERT INTO quota_processes (id, seen_at) VALUES (:process, now())
    ON CONFLICT (id) DO UPDATE SET seen_at = now()
""")
_LEAVE_BEHIND = text("""
    DELETE FROM quota_processes WHERE id IN (
        SELECT id FROM quota_processes WHERE seen_at < now() - interval '30 seconds' FOR UPDATE SKIP LOCKED
    )
""")
_LEAVE = text("DELETE FROM quota_processes WHERE id = :process")
_COUNT = text("SELECT count(*) FROM quota_processes WHERE seen_at >= now() - interval '30 seconds'")
_FORGET = text("""
    DELETE FROM quotas WHERE key IN (
        SELECT key FROM quotas WHERE full_at < now() LIMIT 10000 FOR UPDATE SKIP LOCKED
    )
""")


@dataclass(frozen=True, slots=True)
class PostgresQuotaLedger:
    """Errors: StorageUnavailable."""

    begin: Begin

    async def book(self, shifts_s: Mapping[bytes, float]) -> Mapping[bytes, float]:
        values = {"keys": list(shifts_s), "shifts_s": list(shifts_s.values())}
        async with self.begin() as tx:
            booked = await session_of(tx).execute(_BOOK, values)
            return {bytes(key): ahead_s for key, ahead_s in booked}

    async def attend(self, process: UUID) -> int:
        async with self.begin() as tx:
            session = session_of(tx)
            await session.execute(_ATTEND, {"process": process})
            await session.execute(_LEAVE_BEHIND)
            return int(await session.scalar(_COUNT) or 0)

    async def leave(self, process: UUID) -> None:
        async with self.begin() as tx:
            await session_of(tx).execute(_LEAVE, {"process": process})

    async def forget_full(self) -> None:
        async with self.begin() as tx:
            await session_of(tx).execute(_FORGET)
