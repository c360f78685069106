"""Begin again what is over."""

from dataclasses import dataclass

from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.access import open_run
from app.infra.durable.ports import Engine
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class RerunRun:
    """Ask the same again, as a new run of the same owner.

    With the rights the owner has now, whatever they were then; where an admin asks, with those of the first run, since
    nobody else's are known. In a chat it waits for its turn like any other run. A keyed request begins one, however
    often it is sent. Errors: RunNotFound, RunNotOver, DelegatedTooDeep.
    """

    begin: Begin
    runs: RunStore
    engine: Engine
    audit: AuditTrail

    async def __call__(self, who: Principal, run_id: RunId, *, keyed: KeyedRequest | None = None) -> Run:
        run = await open_run(self.begin, self.runs, who, run_id)
        told = {INPUT_KEY: Authority.of(who).as_json()} if run.owner == who.user_id else None
        dedupe = None if keyed is None else f"keyed:{keyed.id}"

        async def note(tx: Tx) -> None:
            await record_on_others(self.audit, tx, who, "run.rerun", run_id, owner=run.owner)

        again = await self.engine.rerun(run_id, told=told, dedupe=dedupe, noting=note)
        await self.engine.dispatch(again)
        return await open_run(self.begin, self.runs, who, again)
