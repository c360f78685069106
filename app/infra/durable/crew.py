"""Which workers there are, wherever they run, and what each says of itself: for health, and who asks about agents.

Nothing is decided by it. A worker that does not report is missed in an answer; its runs are found by their leases.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.infra.db.engine import Database
from app.infra.durable.ports import Present
from app.infra.wire.json_text import written
from app.kernel.values import Json

MAX_REPORT_BYTES = 64 * 1024
PRESENT_S = 20
FORGOTTEN_S = 600

_REPORT = text("""
INSERT INTO workers (name, version, report) VALUES (:name, :version, CAST(:report AS json))
ON CONFLICT (name) DO UPDATE SET version = excluded.version, report = excluded.report, seen_at = now()""")
_FORGET = text("DELETE FROM workers WHERE seen_at < now() - make_interval(secs => :forgotten_s)")
_LEAVE = text("DELETE FROM workers WHERE name = :name")
_PRESENT = text("""
SELECT name, version, report, seen_at FROM workers
WHERE seen_at > now() - make_interval(secs => :present_s) ORDER BY seen_at DESC LIMIT 1000""")


@dataclass(frozen=True, slots=True)
class PostgresCrew:
    database: Database

    async def report(self, name: str, *, version: str, report: Json) -> None:
        values = {"name": name, "version": version, "report": written(report, limit_bytes=MAX_REPORT_BYTES)}
        async with self.database.statements() as connection:
            await connection.execute(_REPORT, values)
            await connection.execute(_FORGET, {"forgotten_s": FORGOTTEN_S})

    async def leave(self, name: str) -> None:
        async with self.database.statements() as connection:
            await connection.execute(_LEAVE, {"name": name})

    async def present(self) -> Sequence[Present]:
        async with self.database.statements() as connection:
            rows = (await connection.execute(_PRESENT, {"present_s": PRESENT_S})).all()
        return [Present(row.name, row.version, _value(row.report), row.seen_at) for row in rows]


def _value(document: Any) -> Json:  # Any: text or what it says, by the driver
    found: Json = json.loads(document) if isinstance(document, str) else document
    return found
