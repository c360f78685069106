"""Writes that were done although nobody was told so, a worker without a heart, a step after a long silence."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text

from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable
from app.infra.durable import journal, speech
from app.infra.durable.context import PostgresRunContext
from app.infra.durable.heart import Heart
from app.infra.durable.ports import Fenced, RunContext, StepKey
from app.infra.durable.worker import HeartStopped
from app.infra.events.ports import EventType, NewEvent
from app.kernel.transaction import Tx
from app.kernel.values import Json
from tests.contract.run_rig import PATIENCE_S, postgres_rig

type Write = Callable[..., Coroutine[Any, Any, Any]]  # Any: a write of whatever kind


def unanswered_once(write: Write) -> Write:
    """Do what is asked, and lose the first answer."""
    lost: list[object] = []

    async def done(*arguments: Any, **named: Any) -> Any:  # Any: whatever the write takes and gives
        found = await write(*arguments, **named)
        if not lost:
            lost.append(found)
            raise StorageUnavailable
        return found

    return done


def delta(text_: str) -> NewEvent:
    return NewEvent(EventType.TEXT_DELTA, {"text": text_})


async def test_events_whose_writer_heard_no_answer_are_there_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(context: RunContext) -> Json:
        return [await context.progress([delta("a"), delta("b")]), await context.progress([delta("c")])]

    monkeypatch.setattr(speech, "say", unanswered_once(speech.say))
    async with postgres_rig(database) as rig, rig.working():
        rig.handler.act = act
        events = await rig.events(await rig.put())

    assert "".join(str(event.data.get("text", "")) for event in events) == "abc"
    assert rig.handler.settled[0].result == [4, 5]


@pytest.mark.parametrize("write", ["finish", "intend"])
async def test_a_step_whose_writer_heard_no_answer_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    done: list[str] = []

    async def act(context: RunContext) -> Json:
        async def body(key: StepKey) -> Json:
            done.append(key.name)
            return len(done)

        return await context.step("pay", body, is_idempotent=False)

    monkeypatch.setattr(journal, write, unanswered_once(getattr(journal, write)))
    async with postgres_rig(database) as rig, rig.working():
        rig.handler.act = act
        await rig.ended(await rig.put())

    assert done == ["pay#1"]
    assert rig.handler.settled[0].result == 1


async def test_an_end_whose_writer_heard_no_answer_is_settled_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Database.begin
    is_ending = asyncio.Event()

    @asynccontextmanager
    async def unanswered(self: Database) -> AsyncIterator[Tx]:
        async with begin(self) as tx:
            yield tx
        if is_ending.is_set():
            is_ending.clear()
            raise StorageUnavailable

    async def act(context: RunContext) -> Json:
        is_ending.set()
        return "done"

    async with postgres_rig(database) as rig, rig.working():
        rig.handler.act = act
        run_id, behind = await rig.put(lane="a"), await rig.put(lane="a")
        monkeypatch.setattr(Database, "begin", unanswered)
        events = await rig.events(run_id)
        await rig.ended(behind)

    assert [event.type.value for event in events] == ["run_queued", "run_started", "run_completed"]
    assert [ended.job.id for ended in rig.handler.settled] == [run_id, behind]


async def test_no_step_is_begun_after_a_silence_in_which_the_run_became_anothers(database: Database) -> None:
    """A worker that was frozen finds out before the effect, and not when it writes it down."""
    found: list[str] = []

    async def act(context: RunContext) -> Json:
        async def effect(_key: StepKey) -> Json:
            found.append("an effect")
            return None

        assert isinstance(context, PostgresRunContext)
        async with database.engine.begin() as connection:
            await connection.execute(text("UPDATE runs SET epoch = epoch + 1, lease_until = now() + interval '1 h'"))
        context.own.sure_until_s = 0.0  # as after having been frozen for longer than the lease
        try:
            await context.step("effect", effect)
        except Fenced:
            found.append("fenced")
            raise
        return None

    async with postgres_rig(database) as rig:
        rig.handler.act = act
        async with rig.working(lease_s=60.0):
            await rig.put()
            async with asyncio.timeout(PATIENCE_S):
                while not found:  # noqa: ASYNC110 - polled, with a deadline
                    await asyncio.sleep(0.01)

        assert found == ["fenced"]
        assert rig.tally.fenced_writes == 1
        assert rig.handler.settled == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_worker_whose_heart_has_stopped_ends_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(Heart, "_beat", break_)
    async with postgres_rig(database) as rig:
        with pytest.raises(ExceptionGroup) as failed:
            async with asyncio.timeout(PATIENCE_S), rig.working(lease_s=0.3):
                await asyncio.sleep(PATIENCE_S)

    assert failed.group_contains(HeartStopped)
