"""Send what is due: the loop of a worker. Any number of them share the outbox.

What can be promised
- A notification is sent until its receiver has accepted it or it is given up; what was accepted is not sent again, once
  that is written down. Between the two lies the one gap: a process that dies there, or a database that stays away for
  longer than the lease, lets it be sent once more, under the same name.
- What follows in a lane is sent when what is before it is over.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from app.features.notifications.domain.backoff import (
    FIRST_WAIT_S,
    Again,
    Answer,
    Attempted,
    Done,
    GiveUp,
    Step,
    next_step,
)
from app.features.notifications.domain.news import Channel
from app.features.notifications.ports import Claimed, Message, Outbox, Sender
from app.kernel.clock import Clock
from app.kernel.errors import Unavailable

SLOTS = 64
EACH = 8
"""of one destination at a time; twice as many at most, where a claim finds some under way"""
LEASE_S = 120.0
SEND_S = 20.0
POLL_S = 10.0
"""when nothing is heard; a retry is waited for by its own time"""
RETURN_S = 3.0
"""after a database that was away: whoever has something to write down is before whoever takes something"""
WRITE_AGAIN_S = 0.5
DRAIN_S = 10.0
SHORTEST_WAIT_S = 0.05
MOST_TAKEN = 25
"""times; one that was taken so often and never reported on took its workers with it"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, and how many at once; tests are less patient."""

    slots: int = SLOTS
    each: int = EACH
    lease_s: float = LEASE_S
    send_s: float = SEND_S
    poll_s: float = POLL_S
    return_s: float = RETURN_S
    drain_s: float = DRAIN_S
    first_wait_s: float = FIRST_WAIT_S


@dataclass(slots=True)
class DeliverDue:
    """Concurrency: one a process, on its event loop; `hear` wakes it, `work` runs until it is cancelled.

    When it is cancelled, what is being sent has a moment to be answered.
    """

    outbox: Outbox
    senders: Mapping[Channel, Sender]
    clock: Clock
    pace: Pace = field(default_factory=Pace)
    _under_way: Counter[str] = field(default_factory=Counter)
    _sending: set[asyncio.Task[None]] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self) -> None:
        self._news.set()

    async def work(self) -> None:
        async with asyncio.TaskGroup() as group:
            try:
                await self._take(group)
            finally:
                await self._drain()

    async def _take(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._news.clear()
            try:
                wait_s = await self._take_some(group)
            except Unavailable as lost:
                log.warning("notifications.found_no_database", **lost.evidence)
                await self._until_back()
                continue
            await _wait(self._news, wait_s)

    async def _until_back(self) -> None:
        """Give those time that have something to write down: what they know of was sent."""
        while True:
            await asyncio.sleep(self.pace.return_s / 3)
            try:
                await self.outbox.next_due_s(busy=())
            except Unavailable:
                continue
            await asyncio.sleep(self.pace.return_s)
            return

    async def _take_some(self, group: asyncio.TaskGroup) -> float:
        """Take what there is room for; tell in how many seconds to look again, if nothing is heard before."""
        free = self.pace.slots - len(self._sending)
        poll_s = self.pace.poll_s * random.uniform(0.8, 1.2)  # noqa: S311 not a secret
        if free <= 0:
            return poll_s
        taken = await self.outbox.claim(
            free=free, each=self.pace.each, busy=self._busy(), lease=timedelta(seconds=self.pace.lease_s)
        )
        at_s = self.clock.monotonic_s()
        for one in taken:
            self._under_way[one.destination] += 1
            task = group.create_task(self._deliver(one, at_s))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        if taken:
            return 0
        due_s = await self.outbox.next_due_s(busy=self._busy())
        return poll_s if due_s is None else min(poll_s, max(SHORTEST_WAIT_S, due_s))

    def _busy(self) -> Sequence[str]:
        return [destination for destination, count in self._under_way.items() if count >= self.pace.each]

    async def _deliver(self, one: Claimed, taken_at_s: float) -> None:
        try:
            if one.quiet is not None and (until := one.quiet.until(one.now)) is not None:
                await _written(partial(self.outbox.put_off, one, until))
                return
            if one.attempts > MOST_TAKEN:
                await _written(partial(self.outbox.settle, one, GiveUp("whoever tried to send it was lost")))
                return
            if self.clock.monotonic_s() - taken_at_s > self.pace.lease_s - self.pace.send_s:
                return  # the process was stopped for long: another one has it by now
            step = self._followed(one, await self._send(one))
            await _written(partial(self.outbox.settle, one, step))
        finally:
            self._under_way -= Counter([one.destination])
            self._news.set()

    async def _send(self, one: Claimed) -> Attempted:
        sender = self.senders.get(one.target.channel)
        if sender is None:
            return Attempted(Answer.FAILED, "this version knows no such channel")
        message = Message(name_of(one), one.target.address, one.notification)
        try:
            async with asyncio.timeout(self.pace.send_s):
                return await sender.send(message)
        except TimeoutError:
            return Attempted(Answer.FAILED, f"no answer within {self.pace.send_s:g} s")
        except Exception:
            log.exception("notification.not_sent", delivery=one.id, channel=one.target.channel)
            return Attempted(Answer.FAILED, "it could not be sent; the log knows why")

    def _followed(self, one: Claimed, attempted: Attempted) -> Step:
        jitter = random.uniform(-1, 1)  # noqa: S311 not a secret
        step = next_step(
            attempted, attempts=one.attempts, is_late=one.is_late, jitter=jitter, first_s=self.pace.first_wait_s
        )
        said = {
            "delivery": one.id,
            "notification_id": str(one.notification.id),
            "channel": one.target.channel,
            "attempts": one.attempts,
        }
        match step:
            case Done():
                log.info("notification.delivered", **said)
            case Again():
                log.info("notification.put_off", words=step.words, again_in_s=round(step.in_s, 1), **said)
            case GiveUp():
                log.warning("notification.given_up", words=step.words, **said)
        return step

    async def _drain(self) -> None:
        if self._sending:
            await asyncio.wait(self._sending, timeout=self.pace.drain_s)
        for task in self._sending:
            task.cancel()


def name_of(one: Claimed) -> str:
    """Name a delivery, the same in every attempt and when it is sent again by hand."""
    return f"msg_{one.notification.id.hex}_{one.id}"


async def _written(write: Callable[[], Awaitable[None]]) -> None:
    """Write it down, again and again while the database is away: what was accepted is not to be sent again."""
    while True:
        try:
            await write()
        except Unavailable:
            await asyncio.sleep(WRITE_AGAIN_S)
        else:
            return


async def _wait(news: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await news.wait()
    except TimeoutError:
        return
