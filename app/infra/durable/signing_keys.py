"""The public keys of workers, in PostgreSQL, for every front door. There are no private ones in it, nor anywhere else.

Rule: whoever may write to this table may sign for anybody. A row that is deleted by hand is not written again; the
worker that signs with it makes no other before it is started again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.infra.db.base import Base
from app.infra.db.engine import session_of
from app.kernel.run_tokens import PublicKey
from app.kernel.transaction import Begin

MAX_KEYS = 200
"""of workers that ended without a word; two of one that lives"""


class SigningKeyRow(Base):
    """`n` and `e` as in a JWK; `not_after` by the database's clock."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    n: Mapped[str] = mapped_column(String(2048))
    e: Mapped[str] = mapped_column(String(16))
    not_after: Mapped[datetime]


_PUBLISH = text("""
    INSERT INTO signing_keys (id, n, e, not_after) VALUES (:id, :n, :e, now() + make_interval(secs => :life_s))
""")
_FORGET = text("""
    DELETE FROM signing_keys
    WHERE not_after <= now() OR id IN (SELECT id FROM signing_keys ORDER BY not_after DESC OFFSET :max_keys)
""")
_WITHDRAW = text("DELETE FROM signing_keys WHERE id = ANY(:ids)")


@dataclass(frozen=True, slots=True)
class PostgresSigningKeys:
    """Errors: StorageUnavailable."""

    begin: Begin

    async def publish(self, key: PublicKey, *, life_s: float) -> None:
        async with self.begin() as tx:
            session = session_of(tx)
            await session.execute(_PUBLISH, {"id": key.id, "n": key.n, "e": key.e, "life_s": life_s})
            await session.execute(_FORGET, {"max_keys": MAX_KEYS})

    async def withdraw(self, key_ids: Sequence[str]) -> None:
        async with self.begin() as tx:
            await session_of(tx).execute(_WITHDRAW, {"ids": list(key_ids)})
