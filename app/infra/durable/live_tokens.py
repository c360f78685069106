"""Which tokens of runs are good now: one statement, on a connection of its own, for a front door that was asked.

A run lives while a worker holds its lease and nobody has stopped it. What is read is one snapshot: keys and runs agree.
"""

import asyncio
from uuid import UUID

import msgspec
from sqlalchemy import text

from app.infra.db.engine import Database
from app.infra.db.errors import translated
from app.infra.db.listening import own_engine
from app.kernel.ids import RunId
from app.kernel.run_tokens import LiveTokens, PublicKey

READ_S = 3

_READ = text("""
    SELECT
      CAST((SELECT coalesce(json_agg(json_build_array(id, n, e)), '[]') FROM signing_keys
            WHERE not_after > now()) AS text),
      CAST((SELECT coalesce(json_agg(json_build_array(id, epoch)), '[]') FROM runs
            WHERE state = 'running' AND cancel_requested_at IS NULL AND lease_until > now()) AS text)
""")
_KEYS = msgspec.json.Decoder(list[tuple[str, str, str]])
_EPOCHS = msgspec.json.Decoder(list[tuple[UUID, int]])


class PostgresRunSource:
    """Concurrency: one reading at a time, which is what its connection allows; opens it when it is first asked."""

    def __init__(self, database: Database) -> None:
        self._engine = own_engine(database.options)

    async def read(self) -> LiveTokens:
        """Errors: StorageUnavailable."""
        with translated():
            async with asyncio.timeout(READ_S), self._engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                keys, epochs = (await connection.execute(_READ)).one()
        return _tokens_of(keys, epochs)

    async def aclose(self) -> None:
        await self._engine.dispose()


def _tokens_of(keys: str, epochs: str) -> LiveTokens:
    return LiveTokens(
        keys=frozenset(PublicKey(id_, n, e) for id_, n, e in _KEYS.decode(keys)),
        epochs={RunId(id_): epoch for id_, epoch in _EPOCHS.decode(epochs)},
    )
