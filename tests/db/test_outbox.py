"""The outbox in PostgreSQL: written with what happened, taken by one worker at a time, in order."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.agents.approvals.desk import Asker, NewRequest
from app.agents.rules import Risk
from app.features.approvals.gate import OwnerNotices, PostedApprovals
from app.features.approvals.repository import PostgresApprovalStore
from app.features.notifications.domain.backoff import Again, Done, GiveUp
from app.features.notifications.domain.news import Delivery, DeliveryState, Kind, News, Notification
from app.features.notifications.ports import Claimed, RulesOfRun
from app.features.notifications.repository.notifications import PostgresNotifications
from app.features.notifications.repository.outbox import PostgresOutbox
from app.features.notifications.repository.watch import DeliveryWatch
from app.features.notifications.use_cases.notify import Notify
from app.infra.db.engine import Database, session_of
from app.infra.observability.health import NotWell
from app.kernel.ids import NotificationId, RunId, UserId, new_run_id
from app.kernel.values import Json

HOOK: Mapping[str, Json] = {"webhook_url": "https://a.example/hook"}
ANN, LEASE = UserId("ann"), timedelta(seconds=60)


def news(key: str, *, order: str = "task:1", kind: Kind = Kind.ERROR, same_as: str = "") -> News:
    return News(key, ANN, kind, f"about {key}", "text", order, same_as=same_as)


@dataclass
class Post:
    """The outbox as those who write to it and those who take from it see it."""

    database: Database
    told: list[int] = field(default_factory=list)

    @property
    def outbox(self) -> PostgresOutbox:
        return PostgresOutbox(self.database, lambda: self.told.append(1))

    async def note(self, one: News, config: Mapping[str, Json] | None = HOOK) -> NotificationId | None:
        async with self.database.begin() as tx:
            return await Notify(self.outbox)(tx, one, config)

    async def claim(self, *, free: int = 10, each: int = 10, busy: Sequence[str] = ()) -> Sequence[Claimed]:
        return await self.outbox.claim(free=free, each=each, busy=busy, lease=LEASE)

    async def find(self, notification_id: NotificationId | None) -> Notification:
        assert notification_id is not None
        async with self.database.begin() as tx:
            found = await PostgresNotifications().find(tx, notification_id)
        assert found is not None
        return found

    async def delivery(self, notification_id: NotificationId | None) -> Delivery:
        (found,) = (await self.find(notification_id)).deliveries
        return found

    async def set(self, change: str) -> None:
        async with self.database.begin() as tx:
            await session_of(tx).execute(text(f"UPDATE notification_deliveries SET {change}"))

    async def resend(self, notification_id: NotificationId | None) -> int:
        assert notification_id is not None
        async with self.database.begin() as tx:
            return await self.outbox.resend(tx, notification_id)


@pytest.fixture
def post(database: Database) -> Post:
    return Post(database)


def keys(taken: Sequence[Claimed]) -> list[str]:
    return [one.notification.title.removeprefix("about ") for one in taken]


async def test_what_is_noted_twice_is_told_once(post: Post) -> None:
    first = await post.note(news("a"))
    again = await post.note(news("a"))

    assert first is not None
    assert again is None
    assert keys(await post.claim()) == ["a"]
    assert len(post.told) == 1


async def test_what_is_undone_was_not_told_and_wakes_nobody(post: Post) -> None:
    async def act_in_vain() -> None:
        async with post.database.begin() as tx:
            await Notify(post.outbox)(tx, news("a"), HOOK)
            raise KeyError("the act failed")

    with pytest.raises(KeyError):
        await act_in_vain()

    assert await post.claim() == []
    assert post.told == []


async def test_in_app_alone_is_kept_and_sent_nowhere(post: Post) -> None:
    for config in (None, {"channels": ["in_app"]}, {**HOOK, "on": ["success"]}):
        kept = await post.find(await post.note(news(str(config)), config))
        assert kept.deliveries == ()

    assert await post.claim() == []


async def test_of_a_lane_one_is_taken_and_the_next_when_it_is_over(post: Post) -> None:
    for key in ("a", "b", "c"):
        await post.note(news(key))
    await post.note(news("x", order="task:2"))

    first, other = await post.claim()
    nothing = await post.claim()
    await post.outbox.settle(first, Again(60, "busy"))
    still_nothing = await post.claim()
    await post.set("due_at = now()")
    (again,) = [one for one in await post.claim() if one.lane == first.lane]
    await post.outbox.settle(again, GiveUp("gone"))
    second = await post.claim()
    await post.outbox.settle(second[0], Done())
    third = await post.claim()

    assert keys([first, other]) == ["a", "x"]
    assert (nothing, still_nothing) == ([], [])
    assert (again.attempts, keys([again])) == (2, ["a"])
    assert keys(second) == ["b"]
    assert keys(third) == ["c"]


async def test_two_workers_never_hold_the_same(post: Post) -> None:
    for number in range(40):
        await post.note(news(str(number), order=f"task:{number}"))

    taken = await asyncio.gather(*(post.claim(free=10) for _ in range(6)))

    held = [one.id for part in taken for one in part]
    assert len(held) == len(set(held))
    assert len(held) + len(await post.claim(free=40, each=40)) == 40


async def test_what_a_worker_held_that_died_is_taken_when_its_lease_is_over(post: Post) -> None:
    await post.note(news("a"))
    (held,) = await post.claim()
    await post.set("due_at = now()")

    (again,) = await post.claim()
    await post.outbox.settle(held, Again(0, "late"))
    await post.outbox.settle(held, GiveUp("late"))
    (kept,) = (await post.find(again.notification.id)).deliveries

    assert (again.id, again.attempts, again.epoch) == (held.id, 2, held.epoch + 1)
    assert (kept.state, kept.error) == (DeliveryState.PENDING, None)


async def test_that_it_was_delivered_counts_whoever_says_it(post: Post) -> None:
    noted = await post.note(news("a"))
    (held,) = await post.claim()
    await post.set("due_at = now()")
    (again,) = await post.claim()

    await post.outbox.settle(held, Done())
    await post.outbox.settle(again, Again(0, "it was refused as known"))

    assert (await post.delivery(noted)).state is DeliveryState.DELIVERED
    await post.set("due_at = now()")
    assert await post.claim() == []


async def test_of_one_destination_few_are_taken_and_of_a_busy_one_none(post: Post) -> None:
    for number in range(5):
        await post.note(news(f"a{number}", order=f"task:a{number}"))
    await post.note(news("b", order="task:b"), {"webhook_url": "https://b.example"})

    some = await post.claim(each=2)
    rest = await post.claim(each=9, busy=["a.example"])
    due_s = await post.outbox.next_due_s(busy=())
    due_without_s = await post.outbox.next_due_s(busy=["a.example", "b.example"])

    assert keys(some) == ["a0", "a1", "b"]
    assert rest == []
    assert due_s is not None
    assert due_s <= 0
    assert due_without_s is None


async def test_what_tells_the_same_within_the_window_is_kept_but_sent_once(post: Post) -> None:
    config = {**HOOK, "dedupe_s": 3600}
    first = await post.note(news("a", same_as="timeout"), config)
    same = await post.note(news("b", same_as="timeout"), config)
    other = await post.note(news("c", same_as="refused"), config)
    of_another_task = await post.note(news("d", same_as="timeout", order="task:2"), config)
    async with post.database.begin() as tx:
        await session_of(tx).execute(text("UPDATE notifications SET created_at = now() - interval '2 hours'"))
    later = await post.note(news("e", same_as="timeout"), config)

    repeats = [(await post.find(one)).repeats for one in (first, same, other, of_another_task, later)]

    assert repeats == [None, first, None, None, None]
    assert (await post.find(same)).deliveries == ()


async def test_quiet_hours_put_it_off_and_count_no_attempt(post: Post) -> None:
    night = {"start": "22:00", "end": "07:00"}
    noted = await post.note(news("a", kind=Kind.WARNING), {**HOOK, "quiet_hours": night})
    (held,) = await post.claim()
    assert held.quiet is not None
    until = held.now + timedelta(hours=5)

    await post.outbox.put_off(held, until)

    kept = await post.delivery(noted)
    assert (kept.attempts, kept.due_at, kept.state) == (0, until, DeliveryState.PENDING)
    assert await post.claim() == []


async def test_what_is_urgent_does_not_wait_behind_what_waits_for_the_morning(post: Post) -> None:
    config = {**HOOK, "quiet_hours": {"start": "22:00", "end": "07:00"}}
    await post.note(news("calm", kind=Kind.WARNING), config)
    await post.note(news("urgent", kind=Kind.ERROR), config)

    taken = await post.claim()

    assert [(keys([one]), one.quiet is None) for one in taken] == [(["calm"], False), (["urgent"], True)]


async def test_what_was_given_up_is_sent_again_behind_nothing_but_what_is_being_sent(post: Post) -> None:
    noted = await post.note(news("a"))
    (held,) = await post.claim()
    await post.outbox.settle(held, GiveUp("gone"))
    await post.note(news("b"))
    await post.note(news("c"))
    (second,) = await post.claim()

    revived = await post.resend(noted)
    in_the_way = await post.claim()
    await post.outbox.settle(second, Done())
    (again,) = await post.claim()

    assert (await post.resend(noted), revived) == (0, 1)
    assert in_the_way == []
    assert (keys([again]), again.attempts, again.id) == (["a"], 1, held.id)


async def test_what_was_given_up_in_an_empty_lane_is_sent_at_once(post: Post) -> None:
    noted = await post.note(news("a"))
    (held,) = await post.claim()
    await post.outbox.settle(held, GiveUp("gone"))

    await post.resend(noted)

    assert keys(await post.claim()) == ["a"]
    assert len(post.told) == 2


async def test_notes_and_ends_at_the_same_moment_leave_no_lane_without_a_head(post: Post) -> None:
    async def write(part: int) -> None:
        for number in range(10):
            await post.note(news(f"{part}-{number}"))

    async def send() -> list[str]:
        sent: list[str] = []
        while len(sent) < 40:
            for one in await post.claim():
                await post.outbox.settle(one, Done())
                sent += keys([one])
        return sent

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        sending = group.create_task(send())
        for part in range(4):
            group.create_task(write(part))
    sent = sending.result()

    for part in range(4):
        of_part = [key for key in sent if key.startswith(f"{part}-")]
        assert of_part == [f"{part}-{number}" for number in range(10)]


async def test_what_is_old_is_forgotten_and_what_is_still_to_be_sent_is_kept(post: Post) -> None:
    sent, waits = await post.note(news("a"), None), await post.note(news("b"))
    async with post.database.begin() as tx:
        await session_of(tx).execute(text("UPDATE notifications SET created_at = now() - interval '91 days'"))
    young = await post.note(news("c"), None)
    store, age = PostgresNotifications(), timedelta(days=90)

    async with post.database.begin() as tx:
        counted = await store.count_old(tx, age=age)
        forgotten = [await store.forget(tx, age=age), await store.forget(tx, age=age)]
        left = [await store.find(tx, one) for one in (sent, waits, young) if one is not None]

    assert (counted, forgotten) == (1, [1, 0])
    assert [one is not None for one in left] == [False, True, True]


async def test_the_watch_tells_what_waits_and_what_was_given_up(post: Post) -> None:
    watch = DeliveryWatch(post.database)
    for number in range(3):
        await post.note(news(str(number), order=f"task:{number}"))
    (first, *_) = await post.claim()
    await post.outbox.settle(first, GiveUp("gone"))

    words = await watch.check()
    numbers = {family.name: family.samples[0].value for family in watch.families()}
    await post.set("due_at = now() - interval '10 minutes'")

    assert words == "2 to be sent, 1 given up since yesterday"
    assert numbers["portico_notifications_pending"] == 2
    assert numbers["portico_notifications_dead"] == 1
    assert 0 <= numbers["portico_notifications_oldest_seconds"] < 60
    with pytest.raises(NotWell, match="one has been due for 6"):
        await watch.check()


async def test_a_lane_of_thousands_costs_a_claim_no_more_than_a_short_one(post: Post) -> None:
    await post.note(news("head"))
    async with post.database.begin() as tx:
        await session_of(tx).execute(
            text(
                "INSERT INTO notification_deliveries"
                " (notification_id, lane, destination, channel, address, is_head, due_at, give_up_at)"
                " SELECT notification_id, lane, destination, channel, address, false, due_at, give_up_at"
                " FROM notification_deliveries, generate_series(1, 5000)"
            )
        )
    async with post.database.begin() as tx:
        await session_of(tx).execute(text("ANALYZE notification_deliveries"))
        plan = await session_of(tx).execute(
            text(
                "EXPLAIN SELECT id FROM notification_deliveries WHERE is_head AND state = 'pending' AND due_at <= now()"
                " ORDER BY due_at, id LIMIT 512"
            )
        )

    assert "ix_notification_deliveries_due" in "\n".join(row[0] for row in plan)
    assert keys(await post.claim()) == ["head"]


async def test_what_is_asked_at_once_is_told_once_by_the_rules_of_the_runs_task(post: Post) -> None:
    class OfTask:
        async def of_run(self, tx: object, run_id: RunId) -> RulesOfRun:
            return RulesOfRun(HOOK, UUID(int=1), "task:1")

    desk = PostedApprovals(
        post.database.begin, PostgresApprovalStore(), OwnerNotices(Notify(post.outbox), OfTask()), timedelta(hours=1)
    )
    asker = Asker(new_run_id(), None, ANN, "helper")
    requests = [
        NewRequest(f"judged#1.{at}", "call", tool, Risk.DESTROYS, {}, "It destroys.")
        for at, tool in enumerate(["delete", "shred", "delete"])
    ]

    asked, again = [await desk.ask(asker, requests, is_attended=False) for _ in range(2)]
    await desk.ask(Asker(new_run_id(), None, ANN, "helper"), requests, is_attended=True)

    (taken,) = await post.claim()
    assert asked == again
    assert taken.notification.kind is Kind.APPROVAL
    assert taken.notification.title == "helper wants to use delete, shred"
    assert taken.notification.about.task_id == UUID(int=1)
    assert taken.notification.details == {"approval_ids": [str(one.id) for one in asked]}
