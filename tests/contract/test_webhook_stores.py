"""What the secrets and the deliveries of webhooks promise, held by the stores in PostgreSQL and by the fakes."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

import pytest
from sqlalchemy import text

from app.features.tasks.domain.task import NewTask, TaskType
from app.features.tasks.domain.webhook import MAX_LIVE_SECRETS, Delivered
from app.features.tasks.ports import DeliveryStore, SecretStore
from app.features.tasks.repository.tasks import PostgresTaskStore
from app.features.tasks.repository.webhooks import PostgresDeliveryStore, PostgresSecretStore
from app.infra.db.engine import Database, session_of
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId, UserId, new_run_id
from app.kernel.transaction import Begin, Tx
from tests.fakes.tasks import FakeTaskStore
from tests.fakes.webhooks import FakeDeliveryStore, FakeSecretStore


@dataclass
class Rig:
    begin: Begin
    secrets: SecretStore
    deliveries: DeliveryStore
    task: TaskId
    other: TaskId

    async def grow_old(self, tx: Tx, *, days: int) -> None:
        """Make everything that is kept so much older."""
        if isinstance(self.deliveries, FakeDeliveryStore):
            self.deliveries.kept = [(at - timedelta(days=days), one) for at, one in self.deliveries.kept]
            return
        older = text("UPDATE webhook_deliveries SET received_at = received_at - make_interval(days => :days)")
        await session_of(tx).execute(older, {"days": days})


@pytest.fixture(params=["postgres", "fake"])
def database_if_real(request: pytest.FixtureRequest) -> Database | None:
    return cast("Database", request.getfixturevalue("database")) if request.param == "postgres" else None


@pytest.fixture
async def rig(database_if_real: Database | None) -> Rig:
    tasks = [TaskId(new_run_id()) for _ in range(2)]
    database = database_if_real
    if database is None:
        return Rig(FakeTaskStore().begin, FakeSecretStore(), FakeDeliveryStore(), *tasks)
    async with database.begin() as tx:
        for task in tasks:
            draft = NewTask(UserId("1"), TaskType.TRIGGERED, "x")
            await PostgresTaskStore().add(tx, task, draft, authority=Authority(UserId("1"), ("user",)))
    return Rig(database.begin, PostgresSecretStore(), PostgresDeliveryStore(), *tasks)


async def live(rig: Rig, task: TaskId | None = None) -> list[bytes]:
    async with rig.begin() as tx:
        return [one.sealed for one in await rig.secrets.live(tx, task or rig.task)]


async def put(rig: Rig, *secrets: bytes, overlap_s: float = 60) -> None:
    for secret in secrets:
        async with rig.begin() as tx:
            await rig.secrets.put(tx, rig.task, secret, overlap_s=overlap_s)


async def test_the_newest_secret_is_the_present_one_and_the_former_holds_beside_it(rig: Rig) -> None:
    await put(rig, b"a", b"b")

    assert await live(rig) == [b"b", b"a"]
    assert await live(rig, rig.other) == []
    async with rig.begin() as tx:
        kept = await rig.secrets.live(tx, rig.task)
    assert [one.expires_at is None for one in kept] == [True, False]


async def test_without_an_overlap_only_the_present_secret_holds(rig: Rig) -> None:
    await put(rig, b"a")
    await put(rig, b"b", overlap_s=0)

    assert await live(rig) == [b"b"]


async def test_a_shorter_time_is_not_made_longer_and_a_longer_one_is_made_shorter(rig: Rig) -> None:
    await put(rig, b"a", b"b", overlap_s=3600)
    async with rig.begin() as tx:
        before = (await rig.secrets.live(tx, rig.task))[1].expires_at
    await put(rig, b"c", overlap_s=7200)
    async with rig.begin() as tx:
        after = (await rig.secrets.live(tx, rig.task))[2].expires_at
    await put(rig, b"d", overlap_s=0)

    assert before == after is not None
    assert await live(rig) == [b"d"]


async def test_a_few_secrets_are_kept(rig: Rig) -> None:
    await put(rig, *(bytes([number]) for number in range(MAX_LIVE_SECRETS + 2)))

    assert await live(rig) == [bytes([number]) for number in range(MAX_LIVE_SECRETS + 1, 1, -1)]


def a_delivery(rig: Rig, key: str = "id:1", *, proof: bytes | None = b"p", digest: bytes = b"d") -> Delivered:
    return Delivered(rig.task, key, proof, digest)


async def test_a_delivery_is_taken_once_and_what_became_of_it_is_told(rig: Rig) -> None:
    run_id = RunId(new_run_id())
    first = a_delivery(rig)
    async with rig.begin() as tx:
        assert await rig.deliveries.take(tx, first) is None
        await rig.deliveries.settle(tx, replace(first, run_id=run_id))

    async with rig.begin() as tx:
        again = await rig.deliveries.take(tx, a_delivery(rig, proof=b"signed anew", digest=b"other"))
        renamed = await rig.deliveries.take(tx, a_delivery(rig, "id:2"))

    assert again == renamed == replace(first, run_id=run_id)


async def test_why_a_delivery_was_skipped_is_kept(rig: Rig) -> None:
    async with rig.begin() as tx:
        await rig.deliveries.take(tx, a_delivery(rig))
        await rig.deliveries.settle(tx, replace(a_delivery(rig), skipped="the filter"))
        again = await rig.deliveries.take(tx, a_delivery(rig))

    assert again is not None
    assert (again.run_id, again.skipped) == (None, "the filter")


async def test_of_a_name_and_a_proof_that_are_known_from_two_deliveries_the_name_counts(rig: Rig) -> None:
    async with rig.begin() as tx:
        await rig.deliveries.take(tx, a_delivery(rig, "id:1", proof=b"one"))
        await rig.deliveries.take(tx, a_delivery(rig, "id:2", proof=b"two"))
        found = await rig.deliveries.take(tx, a_delivery(rig, "id:1", proof=b"two"))

    assert found is not None
    assert found.key == "id:1"


async def test_deliveries_that_prove_nothing_are_told_by_their_names_alone(rig: Rig) -> None:
    async with rig.begin() as tx:
        first = await rig.deliveries.take(tx, a_delivery(rig, "once:1", proof=None))
        second = await rig.deliveries.take(tx, a_delivery(rig, "once:2", proof=None))

    assert first is second is None


async def test_each_task_has_deliveries_of_its_own(rig: Rig) -> None:
    async with rig.begin() as tx:
        await rig.deliveries.take(tx, a_delivery(rig))
        other = await rig.deliveries.take(tx, replace(a_delivery(rig), task_id=rig.other))
        counts = [await rig.deliveries.count(tx, task, within_s=60) for task in (rig.task, rig.other)]

    assert other is None
    assert counts == [1, 1]


async def test_what_is_old_is_not_counted_and_is_swept(rig: Rig) -> None:
    async with rig.begin() as tx:
        await rig.deliveries.take(tx, a_delivery(rig, "id:old"))
        await rig.grow_old(tx, days=31)
        await rig.deliveries.take(tx, a_delivery(rig, "id:new", proof=b"new"))

    async with rig.begin() as tx:
        counted = await rig.deliveries.count(tx, rig.task, within_s=60)
        swept = [await rig.deliveries.sweep(tx, older_than_days=30) for _ in range(2)]
        again = [await rig.deliveries.take(tx, a_delivery(rig, key, proof=None)) for key in ("id:old", "id:new")]

    assert (counted, swept) == (1, [1, 0])
    assert again[0] is None
    assert again[1] is not None


async def test_of_two_at_once_the_second_waits_for_the_first(database: Database) -> None:
    """Of the real store alone: the fake has no transactions."""
    task = TaskId(new_run_id())
    async with database.begin() as tx:
        draft = NewTask(UserId("1"), TaskType.TRIGGERED, "x")
        await PostgresTaskStore().add(tx, task, draft, authority=Authority(UserId("1"), ("user",)))
    store, new, run_id = PostgresDeliveryStore(), Delivered(task, "id:1", b"p", b"d"), RunId(new_run_id())
    has_taken = asyncio.Event()

    async def first() -> None:
        async with database.begin() as tx:
            assert await store.take(tx, new) is None
            has_taken.set()
            await asyncio.sleep(0.1)
            await store.settle(tx, replace(new, run_id=run_id))

    async def second() -> Delivered | None:
        await has_taken.wait()
        async with database.begin() as tx:
            return await store.take(tx, new)

    _, found = await asyncio.gather(first(), second())

    assert found == replace(new, run_id=run_id)
