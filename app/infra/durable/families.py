"""Runs that other runs began: put as a step of the parent, waited for without a slot, stopped when the parent ends.

Facts
- Whoever ends a child takes the parent's row before he touches the child's, and whoever ends a parent holds its row
  before he touches the children's. So a family is locked from the top, and two of it cannot wait for each other; and a
  parent that begins to wait sees every end, or is seen waiting.
- A child is put by whoever holds its parent, under a word made of the step: done again, it finds the child.
- A parent's end asks its children to stop; each of those that ends asks its own. So it goes down, however deep.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.infra.db.engine import session_of
from app.infra.db.hints import PostgresHints
from app.infra.db.statements import Statements
from app.infra.durable import lanes
from app.infra.durable.channels import CANCELS, RUNS
from app.infra.durable.ports import (
    ChildEnd,
    FamilyFull,
    FamilyLimits,
    Job,
    NewChild,
    NewRun,
    RunError,
    RunState,
    StepKey,
)
from app.infra.durable.queue import PostgresRunQueue
from app.kernel.ids import RunId, new_run_id
from app.kernel.transaction import Tx
from app.kernel.values import Json

_LOCK = text("SELECT true FROM runs WHERE id = :id FOR UPDATE")
_WAKE = text("""
UPDATE runs SET state = 'queued', is_ready = true, run_at = now()
WHERE id = :id AND state = 'waiting' AND wait_key = 'children' RETURNING id""")
_HOLD = text("""
SELECT priority, task_id FROM runs WHERE id = :id AND epoch = :epoch AND state = 'running' FOR SHARE""")
_BEGUN = text("SELECT id FROM runs WHERE dedupe = :word")
_ROOT = text("""
WITH RECURSIVE up AS (
  SELECT id, parent_id, 0 AS levels FROM runs WHERE id = :id
  UNION ALL SELECT runs.id, runs.parent_id, levels + 1 FROM runs JOIN up ON runs.id = up.parent_id WHERE levels < 32
)
SELECT id FROM up ORDER BY levels DESC LIMIT 1""")
_COUNT = text("""
WITH RECURSIVE below AS (
  SELECT id, parent_id, kind, state IN ('queued', 'running', 'waiting') AS is_live FROM runs WHERE parent_id = :root
  UNION ALL
  SELECT runs.id, runs.parent_id, runs.kind, runs.state IN ('queued', 'running', 'waiting')
  FROM runs JOIN below ON runs.parent_id = below.id
)
SELECT count(*) AS in_all, count(*) FILTER (
  WHERE is_live AND id <> :id
    AND NOT EXISTS (SELECT FROM below AS other WHERE other.parent_id = one.id AND other.is_live)
) AS at_once FROM below AS one WHERE kind = :kind""")
_ENDS = text("""
SELECT id, state, error FROM runs
WHERE parent_id = :id AND id = ANY(CAST(:children AS uuid[])) AND state IN ('completed', 'failed', 'interrupted')""")
_RESULT = text("SELECT result FROM runs WHERE id = :child AND parent_id = :id")


@dataclass(frozen=True, slots=True)
class Family:
    """Whom a run's end concerns: the parent that goes on because of it, and the children that are to stop."""

    woken: RunId | None = None
    stopped: Sequence[RunId] = field(default_factory=tuple)

    def tell(self, hints: PostgresHints) -> None:
        """Say so, when it is committed."""
        if self.woken is not None:
            hints.send(RUNS, self.woken.hex)
        for child in self.stopped:
            hints.send(CANCELS, child.hex)
            hints.send(RUNS, child.hex)


async def lock(session: AsyncSession, parent: RunId) -> None:
    """Take the parent's row, before anything of a child's end."""
    await session.execute(_LOCK, {"id": parent})


async def wake(session: AsyncSession, parent: RunId) -> bool:
    """Have a parent go on that waits for its children; False where it does not wait for them."""
    return (await session.execute(_WAKE, {"id": parent})).first() is not None


async def put_child(tx: Tx, parent: Job, key: StepKey, child: NewChild) -> RunId | None:
    """Put a child as this step of its parent; None where the parent is another's. Errors: FamilyFull."""
    if child.within is not None:
        await _see_to_room(session_of(tx), parent, key, child, child.within)
    held = (await session_of(tx).execute(_HOLD, {"id": parent.id, "epoch": parent.epoch})).first()
    if held is None:
        return None
    new = NewRun(
        id=new_run_id(after=parent.id),
        kind=child.kind,
        owner=parent.owner,
        trigger=child.trigger,
        input=child.input,
        task_id=held.task_id,
        parent_id=parent.id,
        agent=child.agent,
        priority=held.priority,
        max_attempts=child.max_attempts,
        dedupe=word_of_step(key),
    )
    return await PostgresRunQueue().put(tx, new)


async def _see_to_room(session: AsyncSession, parent: Job, key: StepKey, child: NewChild, within: FamilyLimits) -> None:
    """Errors: FamilyFull. Concurrency: one after the other in a family, so taken before any row of it."""
    root = (await session.execute(_ROOT, {"id": parent.id})).scalar_one()
    await lanes.lock(session, [f"family:{root}"])
    if (await session.execute(_BEGUN, {"word": word_of_step(key)})).first() is not None:
        return  # it was begun, only the step was not written down
    counted = (await session.execute(_COUNT, {"root": root, "id": parent.id, "kind": child.kind})).one()
    if counted.in_all >= within.in_all:
        raise FamilyFull(is_for_good=True)
    if counted.at_once >= within.at_once:
        raise FamilyFull(is_for_good=False)


def refusal(full: FamilyFull) -> Json:
    """Write down, as the result of a step that begins a child, that there was no room."""
    return {"full": "for good" if full.is_for_good else "now"}


def read_begun(kept: Json) -> RunId:
    """Read what a step came to that begins a child. Errors: FamilyFull."""
    if isinstance(kept, Mapping):
        raise FamilyFull(is_for_good=kept.get("full") == "for good")
    return RunId(UUID(cast("str", kept)))


def word_of_step(key: StepKey) -> str:
    """Name a child by the step that begins it, in a bounded length."""
    return f"child:{hashlib.sha256(str(key).encode('utf-8', 'surrogatepass')).hexdigest()}"


async def read_ends(
    connection: Statements | AsyncSession, parent: RunId, children: Sequence[RunId]
) -> Mapping[RunId, ChildEnd]:
    """Tell how those of the children ended that are over."""
    rows = await connection.execute(_ENDS, {"id": parent, "children": list(children)})
    return {RunId(row.id): ChildEnd(RunState(row.state), _error(row.error)) for row in rows}


async def read_result(connection: Statements, parent: RunId, child: RunId) -> Json:
    return cast("Json", (await connection.execute(_RESULT, {"child": child, "id": parent})).scalar_one_or_none())


def _error(document: Mapping[str, str] | None) -> RunError | None:
    return None if document is None else RunError(document["type"], document["detail"])
