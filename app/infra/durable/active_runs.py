"""Runs that are not over, and in whose name they work. Reads whole inputs, since PostgreSQL cannot look into all JSON.

Fact: `->` of the type `json` fails where any string of the document holds a NUL or half of a surrogate pair
(PostgreSQL documentation, JSON Types), and what people write may.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Row, Text, cast, select

from app.infra.db.engine import session_of
from app.infra.durable.ports import RunState
from app.infra.durable.tables import RUNS
from app.infra.durable.withdrawn_runs import ActiveRun
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.ids import RunId, UserId
from app.kernel.transaction import Begin
from app.kernel.values import Json

PAGE_ROWS = 50  # of up to 256 KB each
_IDLE = (RunState.QUEUED, RunState.WAITING)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PostgresActiveRuns:
    begin: Begin

    async def read(self, owners: Sequence[str] | None, *, running: bool, after: RunId | None) -> Sequence[ActiveRun]:
        states = (RunState.RUNNING,) if running else _IDLE
        page = select(RUNS.c.id, RUNS.c.owner, RUNS.c.created_at, cast(RUNS.c.input, Text).label("input"))
        page = page.where(RUNS.c.state.in_(states)).order_by(RUNS.c.id).limit(PAGE_ROWS)
        if owners is not None:
            page = page.where(RUNS.c.owner.in_(owners))
        if after is not None:
            page = page.where(RUNS.c.id > after)
        async with self.begin() as tx:
            return [_run(row) for row in await session_of(tx).execute(page)]


def _run(row: Row[Any]) -> ActiveRun:  # Any: the columns, which have no type of their own
    return ActiveRun(RunId(row.id), UserId(row.owner), row.created_at, _authority(row.id, row.input))


def _authority(run_id: RunId, text: str) -> Authority | None:
    given: Json = json.loads(text).get(INPUT_KEY)
    if given is None:
        return None
    try:
        return Authority.from_json(given)
    except ValueError:
        log.warning("run.authority_unreadable", run_id=str(run_id))
        return None
