"""The events of runs as everybody but the journal sees them: numbered from 1 in each run, without gaps, append-only.

Rule: what a reader was shown was committed before. An event is never changed and never taken back; a piece of text that
was superseded is followed by a `stream_retry` that says so.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from app.kernel.ids import ChatId, RunId, UserId
from app.kernel.values import Json


class EventType(StrEnum):
    """Every word that may stand in an event's `type`; clients branch on them."""

    RUN_QUEUED = "run_queued"
    RUN_STARTED = "run_started"
    RUN_PROGRESS = "run_progress"
    RUN_WAITING = "run_waiting"
    RUN_COMPLETED = "run_completed"
    RUN_FAILED = "run_failed"
    RUN_INTERRUPTED = "run_interrupted"
    TEXT_DELTA = "text_delta"
    THINKING_DELTA = "thinking_delta"
    TOOL_CALL_START = "tool_call_start"
    TOOL_OUTPUT_CHUNK = "tool_output_chunk"
    TOOL_CALL_COMPLETE = "tool_call_complete"
    TOOL_APPROVAL_REQUEST = "tool_approval_request"
    TOOL_APPROVAL_DECIDED = "tool_approval_decided"
    STREAM_RETRY = "stream_retry"
    USAGE = "usage"
    AGENT_STARTED = "agent_started"
    AGENT_COMPLETED = "agent_completed"


LAST_WORDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_INTERRUPTED})
"""behind one of these a run says nothing more"""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that has no number yet; `data` is an object of JSON, at most 64 KB of it."""

    type: EventType
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunEvent:
    """An event as it is kept, and as every door shows it."""

    seq: int
    type: EventType
    run_id: RunId
    chat_id: ChatId | None
    at: datetime
    data: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class RunsCursor:
    """A place among the events of many runs: earlier runs count as seen, of this one what is numbered up to `seq`."""

    run_id: RunId
    seq: int

    def __str__(self) -> str:
        return f"{self.run_id}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "RunsCursor":
        """Read what `str` wrote. Errors: ValueError."""
        run_id, _, seq = text.partition(":")
        if not (seq.isascii() and seq.isdigit() and len(seq) < 19):
            raise ValueError("a place among runs is written RUN_ID:SEQ")
        return cls(RunId(UUID(run_id)), int(seq))


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """An event of a chat's or a person's runs; whoever follows them again from `cursor` misses nothing behind it.

    While several of the runs are alive the cursor is a place in the eldest; what the younger ones said meanwhile may
    then come a second time, and is known by its run and number.
    """

    event: RunEvent
    cursor: RunsCursor


class ReaderTooSlow(Exception):
    """More waited for a reader than is kept for one; it may follow again from `after`, the last place it was given."""

    def __init__(self, after: int | RunsCursor | None) -> None:
        super().__init__(f"the reader fell behind at {after}")
        self.after = after


class EventLog(Protocol):
    """What was said by a run, for whoever reads it now and whoever follows it.

    Concurrency: any number of readers; a follower holds no database connection while it waits.
    """

    async def read(self, run_id: RunId, *, after: int = 0, limit: int = 1000) -> Sequence[RunEvent]:
        """Read what came after `after`, in order. Errors: StorageUnavailable."""
        ...

    def follow(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[RunEvent]:
        """Yield what came after `after` and then what comes, and end behind the last word.

        Errors: StorageUnavailable while it catches up; ReaderTooSlow where more waited for this reader than is kept for
        one, after which it may follow again from the last event it took.
        """
        ...

    def follow_chat(self, chat_id: ChatId, *, after: RunsCursor | None = None) -> AsyncGenerator[PlacedEvent]:
        """Yield what the chat's runs said behind `after`, from the first run where that is None, and then what comes.

        Each run's events come in their order, and every run's; it does not end. Errors: as `follow`.
        """
        ...

    async def chat_end(self, chat_id: ChatId) -> RunsCursor | None:
        """Tell the place in front of the eldest run that is not over, or behind the last run; None in front of all.

        Errors: StorageUnavailable.
        """
        ...

    def follow_person(self, owner: UserId, *, after: RunsCursor | None = None) -> AsyncGenerator[PlacedEvent]:
        """Do so for all runs of a person; with None what comes from now on, of runs that are alive and of new ones.

        A person's runs are not made in one order: what runs said that were made in the five seconds before `after` may
        come a second time, too. Errors: as `follow`.
        """
        ...
