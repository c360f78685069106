"""Say what came of a call that a run put to its client."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.agents.turns import client_wait_key
from app.features.runs.domain.run import Run
from app.features.runs.domain.tool_result import (
    Posted,
    ToolCallExpired,
    ToolCallNotFound,
    ToolResultByAgent,
    ToolResultTaken,
)
from app.features.runs.ports import RunStore
from app.infra.durable.ports import Engine, RunNotFound, RunQueue
from app.infra.events.ports import EventType, RunEvent
from app.kernel.clock import Clock
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class PostToolResult:
    """Give a run what it waits for, once, and let it go on wherever a worker is free.

    Of its owner alone, since it is her client that was asked: not even of an admin, and never of an agent. What was put
    to a client is what the run's events say. A keyed request posts once, however often it is sent.
    Errors: ToolResultByAgent, RunNotFound, ToolCallNotFound, ValidationFailed, ToolCallExpired, ToolResultTaken.
    """

    begin: Begin
    runs: RunStore
    queue: RunQueue
    engine: Engine
    receipts: Receipts
    clock: Clock

    async def __call__(
        self, who: Principal, run_id: RunId, tool_call_id: str, posted: Posted, *, keyed: KeyedRequest | None = None
    ) -> Run:
        if who.acting is not None:
            raise ToolResultByAgent
        async with self.begin() as tx:
            run = await self.runs.find(tx, run_id)
            if run is None or run.owner != who.user_id:
                raise RunNotFound
            if keyed is None or await self.receipts.find(tx, keyed) is None:
                await self._post(tx, run_id, tool_call_id, posted)
                if keyed is not None:
                    await self.receipts.note(tx, keyed, str(run_id))
            found = await self.runs.find(tx, run_id) or run
        await self.engine.dispatch(run_id)
        return found

    async def _post(self, tx: Tx, run_id: RunId, tool_call_id: str, posted: Posted) -> None:
        started = await self.runs.events(tx, run_id, [EventType.TOOL_CALL_START])
        until = _until(started, tool_call_id, posted.nonce)
        if until <= self.clock.now():
            raise ToolCallExpired
        if not await self.queue.signal(tx, run_id, client_wait_key(posted.nonce), posted.answer):
            raise ToolResultTaken


def _until(started: Sequence[RunEvent], tool_call_id: str, nonce: str) -> datetime:
    """Find until when a call waits for its client. Errors: ToolCallNotFound, ValidationFailed."""
    put = [one.data for one in started if one.data.get("client") is True and one.data["tool_call_id"] == tool_call_id]
    if not put:
        raise ToolCallNotFound
    for data in put:
        if data["nonce"] == nonce:
            return datetime.fromisoformat(str(data["expires_at"]))
    raise ValidationFailed("Some fields are not valid.", errors=[FieldError("nonce", "is not that of this call")])
