"""The ledger of the budgets, in PostgreSQL.

Facts
- A reservation is one INSERT ... ON CONFLICT over all its accounts: each row is looked at as it is once it is locked,
  and rows are locked in the order of their keys, so that two reservations cannot wait for each other. Where one account
  has no room, the transaction is rolled back, and nothing was set aside.
- An account that was made just now holds nothing of the past: what was spent before is read from `usage` while the
  row is locked. Whoever settles at the same moment has either committed, and is read, or waits for the lock and adds
  itself afterwards. Of a run that nobody worked on before there is no past: where that is all that is limited, nothing
  can stand in the way, and the statement needs no transaction around it. That is how most runs begin.
- A settlement locks its usage's row, its reservation and the accounts, in this order, in one statement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.agents.turns import Usage
from app.features.usage.domain.budget import Account, Claim, Limit, Purse, Scope, fits
from app.features.usage.domain.spent import Settlement
from app.features.usage.ports import Full, Reservation
from app.infra.db.engine import session_of, statements_of
from app.kernel.ids import RunId
from app.kernel.transaction import Begin, Look, Tx

FORGOTTEN_AFTER = timedelta(days=2)

_RESERVING = """
    WITH asked AS (
        SELECT asked.* FROM unnest(
            CAST(:keys AS bytea[]), CAST(:amounts AS bigint[]), CAST(:mosts AS bigint[]), CAST(:news AS boolean[])
        ) AS asked (key, amount, most, is_new) {how}
    ), moved AS (
        INSERT INTO budget_accounts AS kept (key, spent, held, most, is_counted, touched_at)
        SELECT key, 0, amount, most, is_new, now() FROM asked ORDER BY key
        ON CONFLICT (key) DO UPDATE
        SET held = kept.held + excluded.held, most = excluded.most, touched_at = now()
        WHERE NOT kept.is_counted OR kept.spent + kept.held + excluded.held <= excluded.most
            OR (kept.held = 0 AND kept.spent < excluded.most)
        RETURNING key, spent, held, is_counted
    ), noted AS (
        INSERT INTO budget_reservations (session, key, run_id, accounts, amounts, expires_at)
        SELECT :session, :key, :run_id, array_agg(key), array_agg(amount), now() + CAST(:life AS interval)
        FROM moved JOIN asked USING (key) HAVING count(*) > 0
    )
    SELECT key, spent, held, is_counted FROM moved
"""
_RESERVE = text(_RESERVING.format(how=""))
# a run's own first reservation binds nobody else: where the server dies with it, there is nothing to be made good
_RESERVE_NEW = text(_RESERVING.format(how=", set_config('synchronous_commit', 'off', true) AS unsynced"))
_LOOK = text("SELECT key, spent, held FROM budget_accounts WHERE key = ANY(CAST(:keys AS bytea[]))")
_PAST = """
    SELECT coalesce(sum(requests), 0), coalesce(sum(tool_calls), 0),
        coalesce(sum(input_tokens) + sum(output_tokens), 0), coalesce(sum(cost) * 1000000000, 0),
        coalesce(sum(milliseconds) FILTER (WHERE {timed}), 0)
    FROM usage WHERE {whose}
"""
_THE_RUN = "run_id = CAST(CAST(:name AS text) AS uuid)"
# with what the runs spent that it began, and those that they began; but for their seconds
_ITS_FAMILY = """
    run_id IN (
        WITH RECURSIVE family AS (
            SELECT CAST(CAST(:name AS text) AS uuid) AS id
            UNION ALL SELECT runs.id FROM runs JOIN family ON runs.parent_id = family.id
        ) SELECT id FROM family
    ) AND day = coalesce(CAST(:day AS date), day)
"""
_THE_CHAT = "chat_id = CAST(CAST(:name AS text) AS bigint) AND day = coalesce(CAST(:day AS date), day)"
_PAST_OF = {
    Scope.RUN: text(_PAST.format(whose=_ITS_FAMILY, timed=_THE_RUN)),
    Scope.CHAT: text(_PAST.format(whose=_THE_CHAT, timed="true")),
    Scope.USER: text(_PAST.format(whose="user_id = :name AND day = CAST(:day AS date)", timed="true")),
    Scope.DAY: text(_PAST.format(whose="day = CAST(:day AS date) AND :name = ''", timed="true")),
}
_LIMITS_OF_THE_PAST = (Limit.REQUESTS, Limit.TOOL_CALLS, Limit.TOKENS, Limit.COST, Limit.SECONDS)
_COUNT = text("""
    UPDATE budget_accounts AS made SET spent = past.spent, held = greatest(made.held, past.own), is_counted = true
    FROM unnest(
        CAST(:keys AS bytea[]), CAST(:spent AS bigint[]), CAST(:own AS bigint[])
    ) AS past (key, spent, own)
    WHERE made.key = past.key
    RETURNING made.key, made.held
""")
_FREED = """
    gone AS (
        DELETE FROM budget_reservations WHERE {which} RETURNING accounts, amounts
    ), freed AS (
        SELECT account, -amount AS held, CAST(0 AS bigint) AS spent
        FROM gone, unnest(accounts, amounts) AS f (account, amount)
    )
"""
_MOVED = """
    moved AS (
        INSERT INTO budget_accounts AS kept (key, spent, held, most, is_counted, touched_at)
        SELECT account, CAST(sum(spent) AS bigint), CAST(sum(held) AS bigint), 0, false, now() FROM moves
        GROUP BY account ORDER BY account
        ON CONFLICT (key) DO UPDATE
        SET spent = kept.spent + excluded.spent, held = greatest(0, kept.held + excluded.held), touched_at = now()
    )
"""
_SETTLE = """
    WITH {freed}, moves AS (
        SELECT account, held, spent FROM freed
        UNION ALL
        SELECT account, 0, amount
        FROM unnest(CAST(:accounts AS bytea[]), CAST(:amounts AS bigint[])) AS s (account, amount)
    ), {moved}
    INSERT INTO usage AS known (
        run_id, day, model, user_id, chat_id, agent, requests, tool_calls, input_tokens, output_tokens, cost,
        unpriced_requests, milliseconds
    ) VALUES (
        :run_id, :day, :model, :user_id, :chat_id, :agent, :requests, :tool_calls, :input_tokens, :output_tokens, :cost,
        :unpriced_requests, :milliseconds
    )
    ON CONFLICT (run_id, day, model) DO UPDATE SET
        requests = known.requests + excluded.requests,
        tool_calls = known.tool_calls + excluded.tool_calls,
        input_tokens = known.input_tokens + excluded.input_tokens,
        output_tokens = known.output_tokens + excluded.output_tokens,
        cost = CASE WHEN known.cost IS NULL THEN excluded.cost ELSE known.cost + coalesce(excluded.cost, 0) END,
        unpriced_requests = known.unpriced_requests + excluded.unpriced_requests,
        milliseconds = known.milliseconds + excluded.milliseconds,
        updated_at = now()
"""
_GIVE_BACK = """
    WITH {freed}, moves AS (SELECT * FROM freed), {moved} SELECT count(*) FROM gone
"""
_OLD = """(session, key) IN (
    SELECT session, key FROM budget_reservations WHERE expires_at <= now() FOR UPDATE SKIP LOCKED
)"""


def _freeing(statement: str, *, which: str) -> TextClause:
    return text(statement.format(freed=_FREED.format(which=which), moved=_MOVED))


_SETTLE_ONE = _freeing(_SETTLE, which="session = :session AND key = :key")
_RELEASE = _freeing(_GIVE_BACK, which="run_id = :run_id")
_TAKE_BACK = _freeing(_GIVE_BACK, which="session = :session AND key = :key")
_EXPIRE = _freeing(_GIVE_BACK, which=_OLD)
_CLOSE = _freeing(
    """
    WITH {freed}, moves AS (
        SELECT * FROM freed WHERE account <> ALL(CAST(:purse AS bytea[]))
    ), {moved}, closed AS (
        DELETE FROM budget_accounts WHERE key = ANY(CAST(:purse AS bytea[]))
    ), total AS (
        SELECT CAST(coalesce(sum(requests), 0) AS bigint) AS requests,
            CAST(coalesce(sum(tool_calls), 0) AS bigint) AS tool_calls,
            CAST(coalesce(sum(input_tokens), 0) AS bigint) AS input_tokens,
            CAST(coalesce(sum(output_tokens), 0) AS bigint) AS output_tokens,
            sum(cost) AS cost
        FROM usage WHERE run_id = :run_id
    ), told AS (
        UPDATE runs SET cost = total.cost, usage = jsonb_build_object(
            'requests', total.requests, 'tool_calls', total.tool_calls,
            'input_tokens', total.input_tokens, 'output_tokens', total.output_tokens
        ) FROM total WHERE runs.id = :run_id
    )
    SELECT * FROM total
    """,
    which="run_id = :run_id",
)
_FORGET = text("DELETE FROM budget_accounts WHERE touched_at < now() - CAST(:age AS interval)")


class _NoRoom(Exception):
    """Ends the transaction, and with it what was set aside on the other accounts."""

    def __init__(self, full: Full) -> None:
        super().__init__("an account has no room")
        self.full = full


@dataclass(frozen=True, slots=True)
class PostgresLedger:
    begin: Begin
    look: Look

    async def reserve(self, reservation: Reservation) -> Full | None:
        by_key = {claim.account.key: claim for claim in reservation.claims}
        is_new = [reservation.is_first and _has_no_past(claim) for claim in by_key.values()]
        values = {
            "keys": list(by_key),
            "amounts": [claim.amount for claim in by_key.values()],
            "mosts": [claim.most for claim in by_key.values()],
            "news": is_new,
            "session": reservation.session,
            "key": reservation.key,
            "run_id": reservation.run_id,
            "life": reservation.life,
        }
        if all(is_new) and await self._reserve_new(values, accounts=len(by_key)):
            return None
        try:
            async with self.begin() as tx:
                session = session_of(tx)
                moved = (await session.execute(_RESERVE, values)).all()
                found = {bytes(row.key): row for row in moved}
                await _refuse_full(session, [claim for key, claim in by_key.items() if key not in found])
                await _count_past(session, [by_key[key] for key, row in found.items() if not row.is_counted])
        except _NoRoom as none:
            return none.full
        return None

    async def _reserve_new(self, values: Mapping[str, object], *, accounts: int) -> bool:
        """Reserve on accounts that nobody opened before; False, and nothing set aside, where somebody did."""
        async with self.look() as tx:
            statements = statements_of(tx)
            moved = (await statements.execute(_RESERVE_NEW, values)).all()
            if len(moved) == accounts and all(row.is_counted for row in moved):
                return True
            await statements.execute(_TAKE_BACK, {"session": values["session"], "key": values["key"]})
        return False

    async def settle(self, session: UUID, key: str, spent: Sequence[tuple[Account, int]], what: Settlement) -> None:
        usage, payer = what.spent, what.payer
        values = {
            "session": session,
            "key": key,
            "accounts": [account.key for account, _ in spent],
            "amounts": [amount for _, amount in spent],
            "run_id": payer.run_id,
            "day": what.day,
            "model": what.model[:255],
            "user_id": payer.user_id,
            "chat_id": payer.chat_id,
            "agent": payer.agent[:255],
            "requests": usage.requests,
            "tool_calls": usage.tool_calls,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost": usage.cost,
            "unpriced_requests": usage.requests if usage.cost is None else 0,
            "milliseconds": what.milliseconds,
        }
        async with self.look() as tx:
            await statements_of(tx).execute(_SETTLE_ONE, values)

    async def release(self, run_id: RunId) -> None:
        async with self.look() as tx:
            await statements_of(tx).execute(_RELEASE, {"run_id": run_id})

    async def close(self, tx: Tx, run_id: RunId) -> Usage:
        purse = Purse(Scope.RUN, str(run_id))
        values = {"run_id": run_id, "purse": [Account(purse, limit).key for limit in Limit]}
        row = (await session_of(tx).execute(_CLOSE, values)).one()
        return Usage(row.input_tokens, row.output_tokens, row.requests, row.tool_calls, row.cost)

    async def sweep(self) -> None:
        async with self.look() as tx:
            await statements_of(tx).execute(_EXPIRE)
            await statements_of(tx).execute(_FORGET, {"age": FORGOTTEN_AFTER})


def _has_no_past(claim: Claim) -> bool:
    """Tell whether an account of a run that begins may be opened without looking for what was spent before."""
    return claim.account.purse.scope is Scope.RUN and fits(claim, spent=0, held=0)


async def _refuse_full(session: AsyncSession, refused: Sequence[Claim]) -> None:
    """Errors: _NoRoom, of an account that is full for good before one that others may empty."""
    if not refused:
        return
    rows = await session.execute(_LOOK, {"keys": [claim.account.key for claim in refused]})
    known = {bytes(row.key): row for row in rows}
    found = [Full(claim, known[claim.account.key].spent, known[claim.account.key].held) for claim in refused]
    raise _NoRoom(max(found, key=lambda full: full.is_for_good))


async def _count_past(session: AsyncSession, claims: Sequence[Claim]) -> None:
    """Count what was spent before on accounts that were made just now, purse by purse. Errors: _NoRoom."""
    for purse in dict.fromkeys(claim.account.purse for claim in claims):
        past = (await session.execute(_PAST_OF[purse.scope], {"name": purse.name, "day": purse.day})).one()
        ours = {claim.account.key: claim for claim in claims if claim.account.purse == purse}
        spent = {key: int(past[_LIMITS_OF_THE_PAST.index(claim.account.limit)]) for key, claim in ours.items()}
        values = {
            "keys": list(ours),
            "spent": list(spent.values()),
            "own": [claim.amount for claim in ours.values()],
        }
        for key, held in await session.execute(_COUNT, values):
            claim = ours[bytes(key)]
            others = held - claim.amount
            if not fits(claim, spent=spent[bytes(key)], held=others):
                raise _NoRoom(Full(claim, spent[bytes(key)], others))
