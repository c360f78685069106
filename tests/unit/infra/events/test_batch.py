"""How events are collected on their way into the log."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from app.infra.events.batch import EventBatch
from app.infra.events.ports import EventType, NewEvent

PATIENCE_S = 10
LONG_S = 60


def piece(text: str, *, request: int = 1, type_: EventType = EventType.TEXT_DELTA) -> NewEvent:
    return NewEvent(type_, {"request": request, "text": text})


@dataclass
class Log:
    """Remembers each write as the texts, or the types, of its events."""

    writes: list[list[str]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    written: asyncio.Event = field(default_factory=asyncio.Event)
    pause: asyncio.Event | None = None

    async def append(self, events: Sequence[NewEvent]) -> int:
        if self.failures:
            raise self.failures.pop()
        if self.pause is not None:
            await self.pause.wait()
        self.writes.append([str(event.data.get("text", event.type.value)) for event in events])
        self.written.set()
        return len(self.writes)


async def test_the_first_piece_is_written_at_once_and_those_that_follow_together() -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=LONG_S)

    for text in ("He", "ll", "o"):
        await batch.add(piece(text))
    assert log.writes == [["He"]]
    await batch.flush()

    assert log.writes == [["He"], ["llo"]]


async def test_what_follows_is_written_after_a_while_without_being_asked_for() -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=0.02)

    await batch.add(piece("a"))
    log.written.clear()
    await batch.add(piece("b"))
    await batch.add(piece("c"))
    await asyncio.wait_for(log.written.wait(), PATIENCE_S)

    assert log.writes == [["a"], ["bc"]]


async def test_a_piece_after_a_silence_is_written_at_once() -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=0.01)

    await batch.add(piece("a"))
    await asyncio.sleep(0.02)
    await batch.add(piece("b"))

    assert log.writes == [["a"], ["b"]]


async def test_two_kilobytes_are_written_without_waiting() -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=LONG_S)

    await batch.add(piece("a"))
    await batch.add(piece("é" * 1000))
    assert len(log.writes) == 1
    await batch.add(piece("é" * 24))

    assert log.writes == [["a"], ["é" * 1024]]


@pytest.mark.parametrize(
    "other",
    [
        NewEvent(EventType.TOOL_CALL_START, {"tool": "search"}),
        NewEvent(EventType.STREAM_RETRY, {}),
        piece("x", request=2),
        piece("x", type_=EventType.THINKING_DELTA),
        NewEvent(EventType.TEXT_DELTA, {"request": 1, "text": None}),
    ],
    ids=["a tool call", "a retry", "another request", "a thought", "no text"],
)
async def test_what_is_new_is_written_at_once_behind_what_waited(other: NewEvent) -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=LONG_S)

    await batch.add(piece("a"))
    await batch.add(piece("b"))
    await batch.add(other)

    assert [text for write in log.writes for text in write][:2] == ["a", "b"]
    assert len(log.writes) == 2
    assert len(log.writes[1]) == 2


async def test_pieces_of_two_texts_are_not_joined() -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=LONG_S)

    for request in (1, 2, 1):
        await batch.add(piece(str(request), request=request))

    assert log.writes == [["1"], ["2"], ["1"]]


async def test_what_fails_unseen_is_raised_by_the_next_call() -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=0.01)
    await batch.add(piece("a"))
    log.failures.append(ZeroDivisionError("the log is gone"))

    await batch.add(piece("b"))
    await asyncio.sleep(0.05)

    with pytest.raises(ZeroDivisionError):
        await batch.add(piece("c"))
    with pytest.raises(ZeroDivisionError):
        await batch.flush()
    assert log.writes == [["a"]]


async def test_order_is_kept_while_a_write_is_under_way() -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=0.01)
    await batch.add(piece("a"))
    log.pause = asyncio.Event()
    await batch.add(piece("b"))
    await asyncio.sleep(0.03)  # the write of "b" is under way

    async with asyncio.TaskGroup() as group:
        group.create_task(batch.add(piece("c")))
        await asyncio.sleep(0.01)
        log.pause.set()
    await batch.flush()

    assert log.writes == [["a"], ["b"], ["c"]]


async def test_one_that_is_cancelled_writes_what_it_has() -> None:
    log = Log()
    batch = EventBatch(log.append, every_s=LONG_S)

    async def speak() -> None:
        try:
            await batch.add(piece("a"))
            await batch.add(piece("b"))
            await asyncio.sleep(LONG_S)
        finally:
            await batch.flush()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(speak())
        await asyncio.sleep(0.01)
        task.cancel()

    assert log.writes == [["a"], ["b"]]
