"""What a worker does beside the gateway, done by a test of the gateway: runs that run, and tokens signed for them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Row, text

from app.agents.approvals.desk import Asker, NewRequest
from app.agents.rules import Risk
from app.features.approvals.domain import Ruling
from app.features.approvals.repository import PostgresApprovalStore
from app.features.notifications.domain.news import About, Kind, News
from app.features.notifications.repository.outbox import PostgresOutbox
from app.features.notifications.use_cases.notify import Notify
from app.infra.db.engine import Database, DatabaseOptions, session_of
from app.infra.durable.key_ring import KeyRing
from app.infra.durable.run_tokens import RunTokens
from app.infra.durable.signing_keys import PostgresSigningKeys
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.clock import SystemClock
from app.kernel.ids import ApprovalId, ChatId, NotificationId, RunId, UserId, new_run_id
from tests.builders import ROLES
from tests.conftest import SCHEMA
from tests.db.runs import a_queued_run, a_running_run, set_run

_PUT = text("""
WITH run AS (UPDATE runs SET event_seq = event_seq + 1 WHERE id = :id RETURNING id, event_seq, chat_id)
INSERT INTO run_events (run_id, seq, chat_id, type, data)
SELECT id, event_seq, chat_id, 'tool_call_start', CAST(:data AS json) FROM run""")


@dataclass
class Workplace:
    """A worker's hand on the database. Each act has a loop of its own, as the tests have none."""

    dsn: str
    _keys: list[Any] = field(default_factory=list)  # Any: the ring keeps its own kind

    def run_for(self, asker: Authority, *, state: str = "running") -> RunId:
        """Begin a run that somebody asked for; it is left as it is."""

        async def begin(database: Database) -> RunId:
            told = {INPUT_KEY: asker.as_json()}
            if state == "running":
                return await a_running_run(database, owner=asker.user_id, told=told)
            run_id = await a_queued_run(database, owner=asker.user_id, told=told)
            await set_run(database, run_id, f"state = '{state}'")
            return run_id

        return self._do(begin)

    def token(self, run_id: RunId, asker: Authority, *, epoch: int = 1, agent: str = "assistant") -> str:
        async def sign(database: Database) -> str:
            ring = KeyRing(PostgresSigningKeys(database.begin), SystemClock())
            ring._keys = self._keys
            caller = asker.in_run(run_id, epoch, agent=agent, table=ROLES)
            token = await RunTokens(ring, SystemClock()).token_for(caller)
            self._keys = ring._keys
            return token

        return self._do(sign)

    def asks(self, run_id: RunId, owner: UserId) -> ApprovalId:
        """Put a call of this run to its owner."""
        request = NewRequest("judged#1.0", "call-1", "shred", Risk.DESTROYS, {"number": 7}, "It destroys something.")

        async def ask(database: Database) -> ApprovalId:
            asker = Asker(run_id, None, owner, "shredder")
            async with database.begin() as tx:
                (asked,) = await PostgresApprovalStore().add(tx, asker, [request], life=timedelta(hours=1))
            assert asked.id is not None
            return asked.id

        return self._do(ask)

    def approves_always(self, owner: UserId) -> ApprovalId:
        """Have a tool approved for a whole chat."""

        async def approve(database: Database) -> ApprovalId:
            store, asker = PostgresApprovalStore(), Asker(new_run_id(), ChatId(1), owner, f"agent of {owner}")
            request = NewRequest("judged#1.0", "call-1", "shred", Risk.DESTROYS, {}, "It destroys something.")
            async with database.begin() as tx:
                (asked,) = await store.add(tx, asker, [request], life=timedelta(hours=1))
                assert asked.id is not None
                decided = await store.decide(tx, asked.id, Ruling(is_approved=True, scope="chat"), by=owner)
                assert decided is not None
                await store.allow(tx, decided, by=owner)
            return asked.id

        return self._do(approve)

    def puts(self, run_id: RunId) -> str:
        """Have the run put a call to its client, with the nonce "n"; gives the call's id."""

        async def put(database: Database) -> str:
            until = datetime.now(UTC) + timedelta(hours=1)
            told = {"tool_call_id": "call-1", "tool": "look", "client": True, "nonce": "n"}
            data = json.dumps({**told, "arguments": {}, "expires_at": until.isoformat()})
            async with database.engine.begin() as connection:
                await connection.execute(_PUT, {"id": run_id, "data": data})
            return "call-1"

        return self._do(put)

    def set(self, run_id: RunId, change: str) -> None:
        self._do(lambda database: set_run(database, run_id, change))

    def row(self, run_id: RunId) -> Mapping[str, Any]:  # Any: the columns, which have no type of their own
        async def read(database: Database) -> Row[Any]:
            async with database.engine.connect() as connection:
                return (await connection.execute(text("SELECT * FROM runs WHERE id = :id"), {"id": run_id})).one()

        return dict(self._do(read)._mapping)

    def authority(self, run_id: RunId) -> Authority:
        return Authority.from_json(self.row(run_id)["input"][INPUT_KEY])

    def _do[T](self, act: Callable[[Database], Awaitable[T]]) -> T:
        async def done() -> T:
            database = Database(DatabaseOptions(dsn=self.dsn, schema=SCHEMA))
            try:
                return await act(database)
            finally:
                await database.aclose()

        return asyncio.run(done())


def a_notification(dsn: str, owner: str, *, is_dead: bool = True, title: str = "Report") -> NotificationId:
    """Tell somebody something; what was to be sent of it was given up."""

    async def tell(database: Database) -> NotificationId:
        outbox = PostgresOutbox(database, lambda: None)
        news = News(f"test:{uuid4()}", UserId(owner), Kind.ERROR, title, "It failed.", about=About(agent="helper"))
        config = {"webhook_url": "http://127.0.0.1:9/hook?token=secret"} if is_dead else None
        async with database.begin() as tx:
            made = await Notify(outbox)(tx, news, config)
            dead = "UPDATE notification_deliveries SET state = 'dead', is_head = false, done_at = now(), error = 'gone'"
            await session_of(tx).execute(text(f"{dead} WHERE notification_id = :id"), {"id": made})
        assert made is not None
        return made

    return Workplace(dsn)._do(tell)


def a_put_call(dsn: str, owner: str) -> dict[str, object]:
    """Have a run of somebody's wait for its client; give the ids of both."""
    place, asker = Workplace(dsn), Authority(UserId(owner), ("user",))
    run_id = place.run_for(asker, state="waiting")
    return {"run_id": run_id, "tool_call_id": place.puts(run_id)}


def an_approval(dsn: str, owner: str) -> ApprovalId:
    """Have a run of somebody's wait for an approval."""
    place, asker = Workplace(dsn), Authority(UserId(owner), ("user",))
    return place.asks(place.run_for(asker, state="waiting"), UserId(owner))
