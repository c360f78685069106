"""API keys in PostgreSQL: for their owners, and for the edge, which reads them by their ids."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, text

from app.features.keys.domain import Key, NewKey
from app.features.keys.tables import KEYS
from app.infra.db.engine import session_of
from app.infra.db.errors import translated
from app.infra.db.listing import conditions, page_of
from app.kernel.api_keys import ApiKey, read_scopes
from app.kernel.ids import KeyId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Begin, Tx

READ_S = 3
_SHOWN = [column for column in KEYS.c if column.name != "digest"]
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:word, 4091))")
# at most once a minute and key, however many processes saw it used
_USED = text("""
    UPDATE api_keys AS known SET last_used_at = to_timestamp(used.at_s)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:at_s AS float8[])) AS used (id, at_s)
    WHERE known.id = used.id
      AND (known.last_used_at IS NULL OR known.last_used_at < to_timestamp(used.at_s) - interval '30 seconds')
""")


class PostgresKeyStore:
    async def add(self, tx: Tx, draft: NewKey, *, at_most: int) -> Key | None:
        session = session_of(tx)
        await session.execute(_LOCK, {"word": draft.owner})
        count = await session.scalar(select(func.count()).select_from(KEYS).where(KEYS.c.owner == draft.owner))
        if (count or 0) >= at_most:
            return None
        values = {
            "id": draft.id,
            "owner": draft.owner,
            "name": draft.name,
            "digest": draft.digest,
            "roles": list(draft.roles),
            "scopes": list(draft.scopes),
            "expires_at": draft.expires_at,
        }
        return _key((await session.execute(insert(KEYS).values(values).returning(*_SHOWN))).one())

    async def find(self, tx: Tx, key_id: KeyId) -> Key | None:
        row = (await session_of(tx).execute(select(*_SHOWN).where(KEYS.c.id == key_id))).first()
        return None if row is None else _key(row)

    async def list(
        self, tx: Tx, query: ListQuery, *, owner: UserId | None, ids: Sequence[UUID] | None = None
    ) -> Page[Key]:
        wanted = [*conditions(KEYS.c, query)]
        if owner is not None:
            wanted.append(KEYS.c.owner == owner)
        if ids is not None:
            wanted.append(KEYS.c.id.in_(ids))
        rows, total = await page_of(tx, select(*_SHOWN), KEYS.c, wanted, query)
        return Page([_key(row) for row in rows], total, query.limit, query.offset)

    async def remove(self, tx: Tx, key_id: KeyId) -> bool:
        gone = await session_of(tx).execute(delete(KEYS).where(KEYS.c.id == key_id).returning(KEYS.c.id))
        return gone.first() is not None

    async def remove_of(self, tx: Tx, owner: UserId, *, before: datetime) -> int:
        meant = (KEYS.c.owner == owner, KEYS.c.created_at < before)
        gone = await session_of(tx).execute(delete(KEYS).where(*meant).returning(KEYS.c.id))
        return len(gone.all())


@dataclass(frozen=True, slots=True)
class PostgresApiKeySource:
    """Implements the edge's `ApiKeySource`. Errors: StorageUnavailable."""

    begin: Begin

    async def read(self, ids: Sequence[KeyId]) -> Mapping[KeyId, ApiKey]:
        with translated():
            async with asyncio.timeout(READ_S), self.begin() as tx:
                rows = (await session_of(tx).execute(select(KEYS).where(KEYS.c.id.in_(ids)))).all()
        return {KeyId(row.id): _checked(row) for row in rows}

    async def note_uses(self, uses: Mapping[KeyId, float]) -> None:
        values = {"ids": list(uses), "at_s": list(uses.values())}
        with translated():
            async with asyncio.timeout(READ_S), self.begin() as tx:
                await session_of(tx).execute(_USED, values)


# Any below: the columns, which have no type of their own
def _key(row: Row[Any]) -> Key:
    return Key(
        id=KeyId(row.id),
        owner=UserId(row.owner),
        name=row.name,
        roles=tuple(row.roles),
        scopes=tuple(row.scopes),
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _checked(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=KeyId(row.id),
        owner=UserId(row.owner),
        digest=row.digest,
        roles=tuple(row.roles),
        created_at_s=row.created_at.timestamp(),
        scopes=tuple(read_scopes(row.scopes)),
        expires_at_s=inf if row.expires_at is None else row.expires_at.timestamp(),
    )
