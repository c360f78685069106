import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from app.features.chats.clients import QUEUE_LIMIT, HookCounts, HttpMessageHook, NoMessageHook
from app.features.chats.ports import Snapshot
from app.kernel.errors import Unavailable
from app.kernel.ids import ChatId, UserId
from tests.fakes.chat_slice import until


@dataclass
class Analytics:
    """Gives one outcome per request, then 201."""

    outcomes: list[int | Exception] = field(default_factory=list)
    got: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.waiting += 1
        await self.is_open.wait()
        self.got.append((url, body, headers))
        outcome = self.outcomes.pop(0) if self.outcomes else 201
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @property
    def messages(self) -> list[str]:
        return [msgspec.json.decode(body)["message"] for _, body, _ in self.got]


def an_analytics(*outcomes: int | Exception) -> Analytics:
    analytics = Analytics(list(outcomes))
    analytics.is_open.set()
    return analytics


def a_hook(analytics: Analytics, *, timeout_s: float = 5) -> HttpMessageHook:
    return HttpMessageHook("http://analytics/", analytics, timeout_s=timeout_s, retry_pause_s=0)


def a_snapshot(message: str = "hello") -> Snapshot:
    return Snapshot(UserId("ann"), ChatId(7), message, "r1")


@asynccontextmanager
async def running(hook: HttpMessageHook) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(hook.run())
        yield
        task.cancel()


async def test_posts_each_message_in_order() -> None:
    analytics = an_analytics()
    hook = a_hook(analytics)

    async with running(hook):
        hook.capture(a_snapshot("one"))
        hook.capture(a_snapshot("two"))
        await until(lambda: hook.counts.delivered == 2)

    assert analytics.messages == ["one", "two"]
    url, body, headers = analytics.got[0]
    assert url == "http://analytics/v1/snapshot"
    assert msgspec.json.decode(body) == {"user_id": "ann", "message": "one", "chat_id": 7}
    assert headers == {"content-type": "application/json", "x-request-id": "r1"}


async def test_tries_again_after_what_may_pass() -> None:
    analytics = an_analytics(ConnectionRefusedError(), 503)
    hook = a_hook(analytics)

    async with running(hook):
        hook.capture(a_snapshot())
        await until(lambda: hook.counts.delivered == 1)

    assert analytics.messages == ["hello"] * 3


async def test_gives_up_after_three_tries_and_goes_on() -> None:
    analytics = an_analytics(Unavailable(), 500, 429)
    hook = a_hook(analytics)

    async with running(hook):
        hook.capture(a_snapshot("lost"))
        hook.capture(a_snapshot("next"))
        await until(lambda: hook.counts.delivered == 1)

    assert analytics.messages == ["lost"] * 3 + ["next"]
    assert hook.counts == HookCounts(delivered=1, failed=1)


async def test_does_not_repeat_what_is_refused() -> None:
    analytics = an_analytics(400)
    hook = a_hook(analytics)

    async with running(hook):
        hook.capture(a_snapshot())
        await until(lambda: hook.counts.failed == 1)

    assert analytics.messages == ["hello"]


async def test_a_service_that_hangs_is_given_up_on() -> None:
    analytics = Analytics()
    hook = a_hook(analytics, timeout_s=0.01)

    async with running(hook):
        hook.capture(a_snapshot())
        await until(lambda: hook.counts.failed == 1)

    assert analytics.waiting == 3


async def test_a_full_queue_drops_the_newest() -> None:
    hook = a_hook(an_analytics())

    for number in range(QUEUE_LIMIT + 2):
        hook.capture(a_snapshot(str(number)))

    assert hook.counts == HookCounts(dropped=2)


async def test_delivers_what_is_left_when_stopped() -> None:
    analytics = Analytics()
    hook = a_hook(analytics)

    async with running(hook):
        hook.capture(a_snapshot("one"))
        hook.capture(a_snapshot("two"))
        await until(lambda: analytics.waiting == 1)
        analytics.is_open.set()

    assert analytics.messages == ["one", "two"]


async def test_no_hook_takes_everything_and_has_nothing_to_run() -> None:
    hook = NoMessageHook()

    hook.capture(a_snapshot())

    await asyncio.wait_for(hook.run(), 5)
