"""Ask an agent about a conversation that its client keeps."""

from dataclasses import dataclass
from uuid import UUID

from app.agents.contract import AgentDirectory
from app.features.completions.domain import KIND, TRIGGER, Wish, input_of
from app.infra.durable.ports import Engine, NewRun, RunQueue
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import RunId, new_run_id
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class BeginCompletion:
    """Commit a run that answers, and offer it to the workers; it counts on the caller's budgets like any other.

    A keyed request begins one, however often it is sent.
    Errors: ValidationFailed, AgentNotFound, TurnTooLong, DelegatedTooDeep.
    """

    begin: Begin
    queue: RunQueue
    engine: Engine
    agents: AgentDirectory
    receipts: Receipts

    async def __call__(self, who: Principal, wish: Wish, *, keyed: KeyedRequest | None = None) -> RunId:
        refuse_invalid(wish.problems())
        self.agents.card(wish.agent)
        async with self.begin() as tx:
            known = None if keyed is None else await self.receipts.find(tx, keyed)
            if known is not None:
                return RunId(UUID(known))
            run_id = await self._put(tx, who, wish)
            if keyed is not None:
                await self.receipts.note(tx, keyed, str(run_id))
        await self.engine.dispatch(run_id)
        return run_id

    async def _put(self, tx: Tx, who: Principal, wish: Wish) -> RunId:
        run = NewRun(
            id=new_run_id(),
            kind=KIND,
            owner=who.user_id,
            trigger=TRIGGER,
            input=input_of(wish, who),
            agent=wish.agent,
            on_disconnect="cancel" if wish.is_cancelled_on_leaving else None,
        )
        return await self.queue.put(tx, run)
