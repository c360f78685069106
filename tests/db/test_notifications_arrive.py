"""Notifications on their way to real receivers that are down, slow, refuse, or answer and then stall."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from app.features.notifications.clients.posting import Posting
from app.features.notifications.clients.webhook import SignedWebhook
from app.features.notifications.domain.backoff import Step
from app.features.notifications.domain.news import Channel, Delivery, DeliveryState, Kind, News
from app.features.notifications.domain.signing import SigningKey
from app.features.notifications.ports import Claimed
from app.features.notifications.repository.notifications import PostgresNotifications
from app.features.notifications.repository.outbox import PostgresOutbox
from app.features.notifications.use_cases.deliver_due import DeliverDue, Pace
from app.features.notifications.use_cases.notify import Notify
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.db.errors import StorageUnavailable
from app.infra.http_client.client import HttpClient
from app.infra.http_client.egress import networks_of
from app.kernel.clock import SystemClock
from app.kernel.ids import NotificationId, UserId
from app.kernel.values import Json
from tests.conftest import SCHEMA
from tests.receivers import Receiver, Reply

ANN = UserId("ann")
HASTY = Pace(poll_s=0.2, first_wait_s=0.05, return_s=0.3, send_s=3, lease_s=10, drain_s=3)
PATIENCE_S = 20
BUSY, BROKEN = Reply(503), Reply(500)


@dataclass
class Post:
    """Writes to one receiver, or to several, and waits for what arrives."""

    database: Database
    dsn: str
    http: HttpClient
    networks: tuple[str, ...] = ("127.0.0.0/8",)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _workers: list[DeliverDue] = field(default_factory=list)

    async def note(
        self, receiver: Receiver, title: str, *, order: str = "task:1", config: Mapping[str, Json] | None = None
    ) -> NotificationId:
        given = {"webhook_url": f"{receiver.url}/hook", **(config or {})}
        news = News(f"key:{next(self._numbers)}", ANN, Kind.ERROR, title, order=order)
        async with self.database.begin() as tx:
            made = await Notify(PostgresOutbox(self.database, self._tell))(tx, news, given)
        assert made is not None
        return made

    def _tell(self) -> None:
        for worker in self._workers:
            worker.hear()

    @asynccontextmanager
    async def worker(self, *, pace: Pace = HASTY, outbox: PostgresOutbox | None = None) -> AsyncIterator[DeliverDue]:
        """Deliver for the block, as a process of its own would, with connections of its own."""
        database = Database(DatabaseOptions(dsn=self.dsn, schema=SCHEMA))
        posting = Posting(self.http, SystemClock(), networks_of(self.networks))
        senders = {Channel.WEBHOOK: SignedWebhook(posting, SigningKey("k" * 32))}
        deliver = DeliverDue(outbox or PostgresOutbox(database, self._tell), senders, SystemClock(), pace)
        self._workers.append(deliver)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(deliver.work())
            try:
                yield deliver
            finally:
                task.cancel()
        self._workers.remove(deliver)
        await database.aclose()

    async def delivery(self, noted: NotificationId) -> Delivery:
        async with self.database.begin() as tx:
            found = await PostgresNotifications().find(tx, noted)
        assert found is not None
        (one,) = found.deliveries
        return one


@pytest.fixture
async def post(database: Database, migrated_dsn: str) -> AsyncIterator[Post]:
    http = HttpClient.open()
    yield Post(database, migrated_dsn, http)
    await http.aclose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


async def becomes(post: Post, noted: NotificationId, holds: Callable[[Delivery], bool]) -> Delivery:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if holds(found := await post.delivery(noted)):
                return found
            await asyncio.sleep(0.01)


async def ended(post: Post, noted: NotificationId) -> Delivery:
    return await becomes(post, noted, lambda one: one.state is not DeliveryState.PENDING)


def titles(receiver: Receiver) -> list[str]:
    return [one.title for one in receiver.accepted]


async def test_a_receiver_that_was_down_gets_each_once_and_in_order_when_it_is_back(post: Post) -> None:
    receiver = Receiver()
    with receiver.listening():
        pass
    sent = [await post.note(receiver, f"{number}") for number in range(5)]

    async with post.worker():
        await becomes(post, sent[0], lambda one: one.attempts >= 3)
        with receiver.listening():
            await until(lambda: len(receiver.accepted) == 5)
            await asyncio.sleep(0.3)

    assert titles(receiver) == ["0", "1", "2", "3", "4"]
    assert [(await post.delivery(one)).state for one in sent] == [DeliveryState.DELIVERED] * 5


async def test_one_that_answers_500_gets_it_again_under_the_same_name_and_nothing_of_the_task_before_it(
    post: Post, receiver: Receiver
) -> None:
    receiver.script(BROKEN, BROKEN, BUSY)
    for number in range(3):
        await post.note(receiver, f"{number}")

    async with post.worker():
        await until(lambda: len(receiver.accepted) == 3)

    assert [one.title for one in receiver.got] == ["0", "0", "0", "0", "1", "2"]
    assert len({one.id for one in receiver.got[:4]}) == 1
    assert len({one.id for one in receiver.got}) == 3


async def test_a_slow_receiver_gets_each_once_and_holds_nobody_else_up(post: Post, receiver: Receiver) -> None:
    others_are_served = threading.Event()
    with Receiver(lambda _: Reply(when=others_are_served)).listening() as slow:
        for number in range(16):
            await post.note(slow, f"slow {number}", order=f"task:slow:{number}", config=_at(slow, "localhost"))
        for number in range(30):
            await post.note(receiver, f"{number}", order=f"task:{number}")

        async with post.worker(pace=replace(HASTY, slots=12, each=4, send_s=60, lease_s=120)):
            await until(lambda: len(receiver.accepted) == 30)
            others_are_served.set()
            await until(lambda: len(slow.accepted) == 16)
            await asyncio.sleep(0.2)

    assert Counter(titles(slow)).most_common(1)[0][1] == 1
    assert len(slow.got) == 16


def _at(receiver: Receiver, host: str) -> Mapping[str, Json]:
    """Name it otherwise than the rest, as receivers of several hosts are."""
    return {"webhook_url": f"http://{host}:{receiver.port}/hook"}


async def test_what_was_answered_with_2xx_is_not_sent_again_though_the_answer_never_ends(
    post: Post, receiver: Receiver
) -> None:
    receiver.answer = lambda _: Reply(stalls_s=2)
    noted = await post.note(receiver, "a")

    async with post.worker(pace=replace(HASTY, send_s=0.5)):
        assert (await ended(post, noted)).state is DeliveryState.DELIVERED

    assert len(receiver.got) == 1


async def test_one_that_does_not_answer_in_time_is_asked_again(post: Post, receiver: Receiver) -> None:
    receiver.script(Reply(after_s=1.5))
    noted = await post.note(receiver, "a")

    async with post.worker(pace=replace(HASTY, send_s=0.3)):
        found = await ended(post, noted)

    assert (found.state, found.attempts, len({one.id for one in receiver.got})) == (DeliveryState.DELIVERED, 2, 1)


async def test_several_workers_send_each_once_and_each_tasks_in_order(post: Post, receiver: Receiver) -> None:
    failing = count()
    receiver.answer = lambda _: BROKEN if next(failing) % 7 == 0 else Reply()
    for number in range(4):
        for task in range(6):
            await post.note(receiver, f"{task}-{number}", order=f"task:{task}")

    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(post.worker())
        await until(lambda: len(receiver.accepted) >= 24)
        await asyncio.sleep(0.3)

    assert Counter(titles(receiver)).most_common(1)[0][1] == 1
    for task in range(6):
        of_task = [title for title in titles(receiver) if title.startswith(f"{task}-")]
        assert of_task == [f"{task}-{number}" for number in range(4)]


async def test_a_worker_that_is_told_to_stop_waits_for_answers(post: Post, receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(after_s=0.5)
    noted = await post.note(receiver, "a")

    async with post.worker():
        await until(lambda: len(receiver.got) == 1)

    assert (await post.delivery(noted)).state is DeliveryState.DELIVERED


class Forgetful(PostgresOutbox):
    """A database that goes away when something is to be written down, `times` times."""

    times: list[int]

    async def settle(self, one: Claimed, step: Step) -> None:
        if self.times:
            self.times.pop()
            raise StorageUnavailable("away")
        await super().settle(one, step)


async def test_a_database_that_is_away_for_a_moment_makes_nothing_be_sent_twice(post: Post, receiver: Receiver) -> None:
    noted = await post.note(receiver, "a")
    outbox = _forgetful(post.database, times=2)

    async with post.worker(outbox=outbox):
        await ended(post, noted)

    assert outbox.times == []
    assert len(receiver.got) == 1


async def test_a_worker_that_dies_behind_the_answer_has_it_sent_again_under_the_same_name(
    post: Post, receiver: Receiver
) -> None:
    """The one gap: what was accepted, and never written down. A receiver can tell by the name."""
    noted = await post.note(receiver, "a")
    outbox = _forgetful(post.database, times=10_000)
    brief = replace(HASTY, lease_s=1.5, send_s=0.5, drain_s=0)
    async with post.worker(outbox=outbox, pace=brief):
        await until(lambda: len(receiver.accepted) == 1)

    async with post.worker(pace=brief):
        found = await ended(post, noted)

    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)
    assert (found.state, found.attempts) == (DeliveryState.DELIVERED, 2)


def _forgetful(database: Database, *, times: int) -> Forgetful:
    outbox = Forgetful(database, lambda: None)
    object.__setattr__(outbox, "times", [0] * times)
    return outbox


async def test_one_that_is_gone_is_given_up_at_once_what_follows_is_sent_and_by_hand_it_is_sent_again(
    post: Post, receiver: Receiver
) -> None:
    receiver.script(Reply(410))
    first, second = await post.note(receiver, "0"), await post.note(receiver, "1")

    async with post.worker():
        dead = await ended(post, first)
        await ended(post, second)
        async with post.database.begin() as tx:
            assert await PostgresOutbox(post.database, post._tell).resend(tx, first) == 1
        again = await ended(post, first)

    assert (dead.state, dead.attempts, dead.error) == (DeliveryState.DEAD, 1, "the receiver answered 410")
    assert (again.state, again.error) == (DeliveryState.DELIVERED, None)
    assert titles(receiver) == ["1", "0"]
    assert len({one.id for one in receiver.got}) == 2


async def test_one_that_refuses_is_asked_a_few_times_and_then_given_up(post: Post, receiver: Receiver) -> None:
    receiver.answer = lambda got: Reply(404) if got.title == "0" else Reply()
    first, second = await post.note(receiver, "0"), await post.note(receiver, "1")

    async with post.worker(pace=replace(HASTY, first_wait_s=0.01)):
        found = await ended(post, first)
        await ended(post, second)

    assert (found.state, found.attempts, found.error) == (DeliveryState.DEAD, 6, "the receiver answered 404")
    assert titles(receiver) == ["1"]


async def test_one_that_says_when_to_come_back_is_left_alone_until_then(post: Post, receiver: Receiver) -> None:
    receiver.script(Reply(429, {"retry-after": "3600"}))
    noted = await post.note(receiver, "a")

    async with post.worker():
        await until(lambda: len(receiver.got) == 1)
        found = await becomes(post, noted, lambda one: one.error is not None)

    assert found.due_at - datetime.now(UTC) > timedelta(minutes=50)


async def test_in_quiet_hours_nothing_arrives_and_no_attempt_is_counted(post: Post, receiver: Receiver) -> None:
    now = datetime.now(UTC)
    quiet = {"start": f"{now - timedelta(hours=1):%H:%M}", "end": f"{now + timedelta(hours=2):%H:%M}", "urgent": []}
    noted = await post.note(receiver, "a", config={"quiet_hours": quiet})
    await post.note(receiver, "b", order="task:2")

    async with post.worker():
        await until(lambda: titles(receiver) == ["b"])
        found = await becomes(post, noted, lambda one: one.due_at > now + timedelta(hours=1))

    assert (found.attempts, found.state) == (0, DeliveryState.PENDING)
    assert titles(receiver) == ["b"]


async def test_a_private_address_is_not_called_unless_it_is_allowed(post: Post, receiver: Receiver) -> None:
    post.networks = ()
    noted = await post.note(receiver, "a")

    async with post.worker():
        found = await ended(post, noted)

    assert (found.state, found.error) == (DeliveryState.DEAD, "the receiver is at an address that may not be called")
    assert receiver.got == []


async def test_an_idle_worker_asks_the_database_seldom(post: Post) -> None:
    asked = Counter[str]()

    class Counted(PostgresOutbox):
        async def next_due_s(self, **given: object) -> float | None:
            asked["next"] += 1
            return await super().next_due_s(busy=())

    async with post.worker(outbox=Counted(post.database, lambda: None), pace=replace(HASTY, poll_s=0.3)):
        await asyncio.sleep(0.9)

    assert 2 <= asked["next"] <= 5
