"""Secrets and deliveries of webhooks in PostgreSQL; times are the database's."""

from collections.abc import Sequence

from sqlalchemy import text

from app.features.tasks.domain.webhook import MAX_LIVE_SECRETS, Delivered, KeptSecret
from app.infra.db.engine import session_of
from app.kernel.ids import RunId, TaskId
from app.kernel.transaction import Tx

SWEPT_AT_ONCE = 5000

# two that rotate at once come one after the other
_HOLD = text("SELECT id FROM tasks WHERE id = :task_id FOR NO KEY UPDATE")
_LET_GO = text("""
UPDATE webhook_secrets SET expires_at = now() + make_interval(secs => :overlap_s)
WHERE task_id = :task_id AND (expires_at IS NULL OR expires_at > now() + make_interval(secs => :overlap_s))""")
_FORGET = text("""
DELETE FROM webhook_secrets WHERE task_id = :task_id AND (expires_at <= now() OR id NOT IN (
  SELECT id FROM webhook_secrets WHERE task_id = :task_id ORDER BY id DESC LIMIT :kept))""")
_ADD = text("INSERT INTO webhook_secrets (task_id, sealed) VALUES (:task_id, :sealed)")
_LIVE = text("""
SELECT sealed, expires_at FROM webhook_secrets
WHERE task_id = :task_id AND (expires_at IS NULL OR expires_at > now()) ORDER BY id DESC""")

_TAKE = text("""
INSERT INTO webhook_deliveries (task_id, key, proof, digest) VALUES (:task_id, :key, :proof, :digest)
ON CONFLICT DO NOTHING RETURNING key""")
_EARLIER = text("""
SELECT key, proof, digest, run_id, skipped FROM webhook_deliveries
WHERE task_id = :task_id AND (key = :key OR proof = CAST(:proof AS bytea)) ORDER BY (key = :key) DESC LIMIT 1""")
_SETTLE = text("""
UPDATE webhook_deliveries SET run_id = :run_id, skipped = :skipped WHERE task_id = :task_id AND key = :key""")
_COUNT = text("""
SELECT count(*) FROM webhook_deliveries
WHERE task_id = :task_id AND received_at > now() - make_interval(secs => :within_s)""")
_SWEEP = text("""
DELETE FROM webhook_deliveries WHERE (task_id, key) IN (
  SELECT task_id, key FROM webhook_deliveries WHERE received_at < now() - make_interval(days => :days)
  ORDER BY received_at LIMIT :some)""")


class PostgresSecretStore:
    async def put(self, tx: Tx, task_id: TaskId, sealed: bytes, *, overlap_s: float) -> None:
        session, task = session_of(tx), {"task_id": task_id}
        await session.execute(_HOLD, task)
        await session.execute(_LET_GO, {**task, "overlap_s": overlap_s})
        await session.execute(_FORGET, {**task, "kept": MAX_LIVE_SECRETS - 1})
        await session.execute(_ADD, {**task, "sealed": sealed})

    async def live(self, tx: Tx, task_id: TaskId) -> Sequence[KeptSecret]:
        rows = await session_of(tx).execute(_LIVE, {"task_id": task_id})
        return [KeptSecret(bytes(row.sealed), row.expires_at) for row in rows]


class PostgresDeliveryStore:
    async def take(self, tx: Tx, new: Delivered) -> Delivered | None:
        session = session_of(tx)
        values = {"task_id": new.task_id, "key": new.key, "proof": new.proof, "digest": new.digest}
        if (await session.execute(_TAKE, values)).first() is not None:
            return None
        row = (await session.execute(_EARLIER, values)).first()
        if row is None:  # it was swept at this moment
            return await self.take(tx, new)
        run_id = None if row.run_id is None else RunId(row.run_id)
        proof = None if row.proof is None else bytes(row.proof)
        return Delivered(new.task_id, row.key, proof, bytes(row.digest), run_id, row.skipped)

    async def settle(self, tx: Tx, done: Delivered) -> None:
        values = {"task_id": done.task_id, "key": done.key, "run_id": done.run_id, "skipped": done.skipped}
        await session_of(tx).execute(_SETTLE, values)

    async def count(self, tx: Tx, task_id: TaskId, *, within_s: float) -> int:
        found = await session_of(tx).execute(_COUNT, {"task_id": task_id, "within_s": within_s})
        number: int = found.scalar_one()
        return number

    async def sweep(self, tx: Tx, *, older_than_days: int) -> int:
        gone = await session_of(tx).execute(_SWEEP, {"days": older_than_days, "some": SWEPT_AT_ONCE})
        return int(gone.rowcount)  # type: ignore[attr-defined] # of a DELETE
