"""Read what a run has answered so far, whoever works on it and however it ended."""

from app.agents.turns import Fold
from app.features.runs.ports import RunStore
from app.infra.events.ports import EventType
from app.kernel.ids import RunId
from app.kernel.transaction import Tx

TEXT = (EventType.TEXT_DELTA, EventType.STREAM_RETRY)


async def read_answer(runs: RunStore, tx: Tx, run_id: RunId) -> str:
    """In the transaction that ends a run: all it will ever have said."""
    fold = Fold()
    for event in await runs.events(tx, run_id, TEXT):
        fold.add(event.type, event.data)
    return fold.text
