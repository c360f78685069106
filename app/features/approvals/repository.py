"""Approvals in PostgreSQL. Which of two is first is decided by the statement that decides, on the row as it is then.

Fact: now() is the beginning of a transaction; what is asked of a moment here may have waited for a lock since, so it is
asked of clock_timestamp().
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, String, case, cast, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from app.agents.approvals.desk import Asked, Asker, NewRequest, Status, digest_of
from app.agents.rules import Risk
from app.features.approvals.domain import Approval, ApprovalFilter, Ruling, StandingApproval, StandingFilter
from app.features.approvals.tables import APPROVALS, STANDING
from app.infra.db.engine import session_of
from app.infra.db.listing import conditions, page_of
from app.infra.durable.tables import RUNS
from app.kernel.ids import ApprovalId, ChatId, RunId, UserId, new_run_id
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx

_COLUMNS = APPROVALS.c
_PENDING = Status.PENDING.value
FORGOTTEN_AT_ONCE = 5_000
_IS_OPEN = (_COLUMNS.status == _PENDING, _COLUMNS.expires_at > func.clock_timestamp())
_STATUS_NOW = case(
    ((_COLUMNS.status == _PENDING) & (_COLUMNS.expires_at <= func.clock_timestamp()), Status.EXPIRED.value),
    else_=_COLUMNS.status,
)
_SHOWN = [column for column in _COLUMNS if column.name not in {"key", "status"}]


class PostgresApprovalStore:
    async def add(self, tx: Tx, asker: Asker, requests: Sequence[NewRequest], *, life: timedelta) -> Sequence[Asked]:
        session = session_of(tx)
        standing = await self._standing(tx, asker)
        now = await session.scalar(select(func.clock_timestamp()))
        if now is None:
            raise RuntimeError("the database tells no time")
        found = []
        for request in requests:
            if request.tool in standing:
                found.append(Asked(None, now + life))
                continue
            new = insert(APPROVALS).values({**_values(asker, request), "expires_at": now + life})
            # an update that changes nothing, so that the row there was is given back
            kept = new.on_conflict_do_update(index_elements=["run_id", "key"], set_={"key": new.excluded.key})
            row = (await session.execute(kept.returning(_COLUMNS.id, _COLUMNS.expires_at))).one()
            found.append(Asked(ApprovalId(row.id), row.expires_at))
        return found

    async def _standing(self, tx: Tx, asker: Asker) -> frozenset[str]:
        if asker.chat_id is None:
            return frozenset()
        tools = select(STANDING.c.tool).where(STANDING.c.chat_id == asker.chat_id, STANDING.c.agent == asker.agent)
        return frozenset(await session_of(tx).scalars(tools))

    async def find(self, tx: Tx, approval_id: ApprovalId) -> Approval | None:
        row = (await session_of(tx).execute(_shown().where(_COLUMNS.id == approval_id))).first()
        return _approval(row) if row else None

    async def list(self, tx: Tx, query: ListQuery, *, only: ApprovalFilter) -> Page[Approval]:
        wanted = [*_of(only), *conditions(_COLUMNS, query)]
        rows, total = await page_of(tx, _shown(), _COLUMNS, wanted, query)
        return Page([_approval(row) for row in rows], total, query.limit, query.offset)

    async def decide(self, tx: Tx, approval_id: ApprovalId, ruling: Ruling, *, by: UserId) -> Approval | None:
        values = {
            "status": (Status.APPROVED if ruling.is_approved else Status.DENIED).value,
            "reason": ruling.reason,
            "scope": ruling.scope if ruling.is_approved else None,
            "edited": None if ruling.arguments is None else dict(ruling.arguments),
            "decided_by": by,
            "decided_at": func.clock_timestamp(),
        }
        deciding = update(APPROVALS).where(_COLUMNS.id == approval_id, *_IS_OPEN).values(values)
        row = (await session_of(tx).execute(deciding.returning(*_SHOWN, _COLUMNS.status))).first()
        return _approval(row) if row else None

    async def take(self, tx: Tx, approval_id: ApprovalId) -> Approval | None:
        closing = update(APPROVALS).where(_COLUMNS.id == approval_id, _COLUMNS.status == _PENDING)
        values = {"status": Status.EXPIRED.value, "decided_at": func.clock_timestamp()}
        await session_of(tx).execute(closing.values(values))
        return await self.find(tx, approval_id)

    async def close(self, tx: Tx, run_id: RunId, *, reason: str) -> Sequence[Approval]:
        closing = update(APPROVALS).where(_COLUMNS.run_id == run_id, _COLUMNS.status == _PENDING)
        values = {"status": Status.EXPIRED.value, "reason": reason, "decided_at": func.clock_timestamp()}
        rows = await session_of(tx).execute(closing.values(values).returning(*_SHOWN, _COLUMNS.status))
        return sorted((_approval(row) for row in rows), key=lambda one: one.id)

    async def allow(self, tx: Tx, approval: Approval, *, by: UserId) -> None:
        values = {
            "chat_id": approval.chat_id,
            "agent": approval.agent,
            "tool": approval.tool,
            "approval_id": approval.id,
            "given_by": by,
        }
        await session_of(tx).execute(insert(STANDING).values(values).on_conflict_do_nothing())

    async def standing(self, tx: Tx, query: ListQuery, *, only: StandingFilter) -> Page[StandingApproval]:
        session = session_of(tx)
        given = ((_COLUMNS.owner, only.owner), (STANDING.c.chat_id, only.chat_id))
        wanted = [*conditions(STANDING.c, query), *(column == value for column, value in given if value is not None)]
        source = STANDING.join(APPROVALS, STANDING.c.approval_id == _COLUMNS.id)
        total = await session.scalar(select(func.count()).select_from(source).where(*wanted))
        keys = [STANDING.c[query.order_by or "created_at"], STANDING.c.approval_id]
        order = [key.asc() if query.sort_order == "asc" else key.desc() for key in keys]
        columns: Select[Any] = select(*STANDING.c, _COLUMNS.owner).select_from(source)
        page = columns.where(*wanted).order_by(*order).limit(query.limit).offset(query.offset)
        rows = await session.execute(page)
        return Page([_standing(row) for row in rows], total or 0, query.limit, query.offset)

    async def take_back(self, tx: Tx, approval: Approval) -> bool:
        named = {"chat_id": approval.chat_id, "agent": approval.agent, "tool": approval.tool}
        gone = delete(STANDING).where(*(STANDING.c[name] == value for name, value in named.items()))
        return (await session_of(tx).execute(gone.returning(STANDING.c.tool))).first() is not None

    async def count_old(self, tx: Tx, *, age: timedelta) -> int:
        return await session_of(tx).scalar(select(func.count()).select_from(APPROVALS).where(*_old(age))) or 0

    async def forget(self, tx: Tx, *, age: timedelta) -> int:
        old = select(_COLUMNS.id).where(*_old(age)).order_by(_COLUMNS.id).limit(FORGOTTEN_AT_ONCE)
        gone = delete(APPROVALS).where(_COLUMNS.id.in_(old.with_for_update(skip_locked=True)))
        return len((await session_of(tx).execute(gone.returning(_COLUMNS.id))).all())


def _old(age: timedelta) -> Sequence[ColumnElement[bool]]:
    lives = select(RUNS.c.id).where(RUNS.c.id == _COLUMNS.run_id, RUNS.c.finished_at.is_(None)).exists()
    stands = select(STANDING.c.approval_id).where(STANDING.c.approval_id == _COLUMNS.id).exists()
    return (func.coalesce(_COLUMNS.decided_at, _COLUMNS.expires_at) < func.now() - age, ~lives, ~stands)


def _values(asker: Asker, request: NewRequest) -> dict[str, Any]:  # Any: of every column its own type
    return {
        "id": new_run_id(),
        "run_id": asker.run_id,
        "key": request.key,
        "chat_id": asker.chat_id,
        "owner": asker.owner,
        "agent": asker.agent,
        "tool_call_id": request.tool_call_id,
        "tool": request.tool,
        "risk": request.risk.value,
        "arguments": dict(request.arguments),
        "digest": digest_of(request.tool, request.arguments),
        "question": request.question,
        "status": _PENDING,
    }


# Any below: a statement's columns, and a row of them, have no type of their own
def _shown() -> Select[Any]:
    return select(*_SHOWN, cast(_STATUS_NOW, String).label("status"))


def _of(only: ApprovalFilter) -> Sequence[ColumnElement[bool]]:
    given = (
        (_COLUMNS.owner, only.owner),
        (_STATUS_NOW, None if only.status is None else only.status.value),
        (_COLUMNS.chat_id, only.chat_id),
        (_COLUMNS.run_id, only.run_id),
        (_COLUMNS.tool, only.tool),
    )
    found = [column == literal(value) for column, value in given if value is not None]
    return found if only.ids is None else [*found, _COLUMNS.id.in_(only.ids)]


def _standing(row: Row[Any]) -> StandingApproval:
    return StandingApproval(
        approval_id=ApprovalId(row.approval_id),
        chat_id=ChatId(row.chat_id),
        owner=UserId(row.owner),
        agent=row.agent,
        tool=row.tool,
        given_by=UserId(row.given_by),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        id=ApprovalId(row.id),
        run_id=RunId(row.run_id),
        chat_id=None if row.chat_id is None else ChatId(row.chat_id),
        owner=UserId(row.owner),
        agent=row.agent,
        tool_call_id=row.tool_call_id,
        tool=row.tool,
        risk=Risk(row.risk),
        arguments=row.arguments,
        digest=row.digest,
        question=row.question,
        status=Status(row.status),
        created_at=row.created_at,
        updated_at=row.updated_at,
        expires_at=row.expires_at,
        reason=row.reason,
        scope=row.scope,
        edited=row.edited,
        decided_by=None if row.decided_by is None else UserId(row.decided_by),
        decided_at=row.decided_at,
    )
