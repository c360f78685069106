"""Keyed requests in PostgreSQL: one row a caller and key, with what it made and what was answered.

Facts
- A claim is one statement: ON CONFLICT DO UPDATE looks at the row as it is once it is locked, so of any number of tries
  at the same time one gets it (PostgreSQL documentation, INSERT).
- A hold runs out by the database's clock unless it is renewed: who died, or froze, holds nothing up for longer.
- `made` is written by the transaction that makes it, whose lock on the row keeps other tries waiting meanwhile.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, Index, LargeBinary, Row, SmallInteger, String, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base
from app.infra.db.engine import session_of
from app.kernel.ids import UserId
from app.kernel.keyed_requests import (
    Answered,
    Claim,
    KeptAnswer,
    KeyedRequest,
    Mismatched,
    RequestSuperseded,
    Taken,
    UnderWay,
)
from app.kernel.transaction import Begin, Tx

SWEEP_ROWS = 1000
SWEEP_ROUNDS = 100


class KeyedRequestRow(Base):
    """`hold` is the mark of the try that works; a row with a `status` was answered."""

    __tablename__ = "keyed_requests"
    __table_args__ = (Index(None, "id", unique=True), Index(None, "expires_at"))

    owner: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    id: Mapped[UUID] = mapped_column(Uuid)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    hold: Mapped[UUID | None] = mapped_column(Uuid)
    held_until: Mapped[datetime | None]
    made: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSON)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime]


_CLAIM = text("""
    INSERT INTO keyed_requests AS kept (owner, key, id, digest, hold, held_until, expires_at)
    VALUES (:owner, :key, :id, :digest, :hold, now() + CAST(:lease AS interval), now() + CAST(:life AS interval))
    ON CONFLICT (owner, key) DO UPDATE SET
        id = CASE WHEN kept.expires_at <= now() THEN excluded.id ELSE kept.id END,
        made = CASE WHEN kept.expires_at <= now() THEN NULL ELSE kept.made END,
        expires_at = CASE WHEN kept.expires_at <= now() THEN excluded.expires_at ELSE kept.expires_at END,
        digest = excluded.digest, hold = excluded.hold, held_until = excluded.held_until,
        status = NULL, headers = NULL, body = NULL
    WHERE kept.expires_at <= now() OR (
        kept.digest = excluded.digest AND kept.status IS NULL AND coalesce(kept.held_until <= now(), true)
    )
    RETURNING id
""")
_LOOK = text(
    "SELECT id, digest, status, headers, body FROM keyed_requests WHERE owner = :owner AND key = :key"
).columns(headers=JSON)
_RENEW = text("""
    UPDATE keyed_requests SET held_until = now() + CAST(:lease AS interval)
    WHERE id = ANY(CAST(:ids AS uuid[])) AND hold = ANY(CAST(:holds AS uuid[]))
""")
_ANSWER = text("""
    UPDATE keyed_requests
    SET status = :status, headers = CAST(:headers AS json), body = :body, hold = NULL, held_until = NULL
    WHERE id = :id AND status IS NULL
""")
_RELEASE = text("UPDATE keyed_requests SET hold = NULL, held_until = NULL WHERE id = :id AND hold = :hold")
_FORGET = text("DELETE FROM keyed_requests WHERE id = :id AND hold = :hold")
_SWEEP = text("""
    DELETE FROM keyed_requests WHERE (owner, key) IN (
        SELECT owner, key FROM keyed_requests WHERE expires_at <= now() LIMIT :rows FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
""")
_FIND = text("SELECT made FROM keyed_requests WHERE id = :id FOR UPDATE")
_NOTE = text("UPDATE keyed_requests SET made = :made WHERE id = :id")


@dataclass(frozen=True, slots=True)
class PostgresKeyedRequests:
    """The store of the door and the receipts of use cases. Errors: StorageUnavailable."""

    begin: Begin
    life: timedelta = timedelta(hours=24)
    lease: timedelta = timedelta(seconds=10)

    async def claim(self, owner: UserId, key: str, digest: bytes) -> Claim:
        hold = uuid4()
        values = {"owner": owner, "key": key, "digest": digest, "life": self.life, "lease": self.lease}
        while True:
            async with self.begin() as tx:
                session = session_of(tx)
                request_id = await session.scalar(_CLAIM, {**values, "id": uuid4(), "hold": hold})
                if request_id is not None:
                    return Taken(KeyedRequest(request_id, owner, key, digest), hold)
                found = (await session.execute(_LOOK, {"owner": owner, "key": key})).first()
            # between the two statements it may have been forgotten: then nobody stands in the way any more
            if found is not None:
                return _read(found, owner, key, digest)

    async def renew(self, holds: Mapping[UUID, UUID]) -> None:
        async with self.begin() as tx:
            values = {"ids": list(holds.values()), "holds": list(holds), "lease": self.lease}
            await session_of(tx).execute(_RENEW, values)

    async def answer(self, request: KeyedRequest, answer: KeptAnswer) -> None:
        values = {"status": answer.status, "headers": json.dumps(dict(answer.headers)), "body": answer.body}
        async with self.begin() as tx:
            await session_of(tx).execute(_ANSWER, {**values, "id": request.id})

    async def release(self, taken: Taken) -> None:
        async with self.begin() as tx:
            await session_of(tx).execute(_RELEASE, {"id": taken.request.id, "hold": taken.hold})

    async def forget(self, taken: Taken) -> None:
        async with self.begin() as tx:
            await session_of(tx).execute(_FORGET, {"id": taken.request.id, "hold": taken.hold})

    async def sweep(self) -> None:
        for _ in range(SWEEP_ROUNDS):
            async with self.begin() as tx:
                swept = await session_of(tx).execute(_SWEEP, {"rows": SWEEP_ROWS})
            if len(swept.all()) < SWEEP_ROWS:
                return

    async def find(self, tx: Tx, request: KeyedRequest) -> str | None:
        found = (await session_of(tx).execute(_FIND, {"id": request.id})).first()
        if found is None:
            raise RequestSuperseded
        made: str | None = found.made
        return made

    async def note(self, tx: Tx, request: KeyedRequest, made: str) -> None:
        await session_of(tx).execute(_NOTE, {"id": request.id, "made": made})


def _read(row: Row[Any], owner: UserId, key: str, digest: bytes) -> Claim:  # Any: columns of a statement in text
    if bytes(row.digest) != digest:
        return Mismatched()
    request = KeyedRequest(row.id, owner, key, digest)
    if row.status is None:
        return UnderWay(request)
    return Answered(request, KeptAnswer(row.status, row.headers, bytes(row.body)))
