"""How delivering does, for health and metrics: what waits, for how long, and what was given up."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import text

from app.infra.db.engine import Database
from app.infra.observability.health import NotWell
from app.infra.observability.metrics import Family, gauge

LATE_S = 300
"""behind its time: a worker takes what is due within seconds"""

_COUNT = text("""
SELECT count(*) FILTER (WHERE state = 'pending') AS pending,
  count(*) FILTER (WHERE state = 'dead') AS dead,
  coalesce(max(extract(epoch FROM now() - created.at)) FILTER (WHERE state = 'pending'), 0) AS oldest_s,
  coalesce(max(extract(epoch FROM now() - due_at)) FILTER (WHERE state = 'pending' AND is_head AND due_at <= now()), 0)
    AS overdue_s
FROM notification_deliveries
JOIN LATERAL (SELECT created_at AS at FROM notifications WHERE id = notification_id) AS created ON true
WHERE state = 'pending' OR (state = 'dead' AND done_at > now() - interval '1 day')""")


@dataclass(frozen=True, slots=True)
class DeliveryNumbers:
    pending: int = 0
    dead: int = 0
    oldest_s: float = 0.0


@dataclass(slots=True)
class DeliveryWatch:
    """Concurrency: one a process; `check` runs in the background, and what it found is what metrics tell."""

    database: Database
    numbers: DeliveryNumbers = field(init=False, default_factory=DeliveryNumbers)

    async def check(self) -> str:
        """Errors: NotWell when nobody takes what is due; StorageUnavailable."""
        async with self.database.statements() as connection:
            row = (await connection.execute(_COUNT)).one()
        self.numbers = DeliveryNumbers(row.pending, row.dead, float(row.oldest_s))
        words = f"{row.pending} to be sent, {row.dead} given up since yesterday"
        if row.overdue_s > LATE_S:
            raise NotWell(f"{words}; one has been due for {float(row.overdue_s):.0f} s")
        return words

    def families(self) -> Iterable[Family]:
        """Measure; every process tells the same, so the greatest number counts."""
        numbers = self.numbers
        pending = "Notifications on their way to somebody, one for each place."
        yield gauge("portico_notifications_pending", pending, numbers.pending, merge="max")
        oldest = "Age of the notification that is on its way for longest."
        yield gauge("portico_notifications_oldest_seconds", oldest, numbers.oldest_s, merge="max")
        dead = "Notifications that were given up within the last day."
        yield gauge("portico_notifications_dead", dead, numbers.dead, merge="max")
