"""Close a run's accounts at its end."""

from dataclasses import dataclass

from app.agents.turns import Usage
from app.features.usage.ports import Ledger
from app.kernel.ids import RunId
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class CloseRun:
    """Give back what is still set aside for the run, and write what it spent into its row.

    For whoever ends a run, in the transaction that ends it, behind whatever else is written there: other runs' calls
    wait for these accounts until it is committed.
    """

    ledger: Ledger

    async def __call__(self, tx: Tx, run_id: RunId) -> Usage:
        return await self.ledger.close(tx, run_id)
