"""Forget what was delivered to webhooks long ago."""

import structlog

from app.features.tasks.domain.webhook import RETENTION_DAYS
from app.features.tasks.ports import DeliveryStore
from app.kernel.errors import Unavailable
from app.kernel.transaction import Begin

SWEEP_S = 3600

log = structlog.get_logger()


async def sweep_deliveries(begin: Begin, deliveries: DeliveryStore) -> None:
    """Remove what is older than is kept, some thousands a transaction; a database that is away is asked next time."""
    found = 0
    try:
        while True:
            async with begin() as tx:
                some = await deliveries.sweep(tx, older_than_days=RETENTION_DAYS)
            found += some
            if not some:
                break
    except Unavailable as away:
        log.warning("webhook_deliveries.not_swept", **away.evidence)
    if found:
        log.info("webhook_deliveries.swept", deliveries=found)
