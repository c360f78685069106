"""The WebSocket of all one's runs: who is let in, and what a client may ask there (`conversation.py`)."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import msgspec
from dishka.integrations.litestar import FromDishka, inject_websocket
from litestar.handlers import websocket

from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.infra.events.ports import EventLog, PlacedEvent, RunsCursor
from app.infra.wire.problems import problem_of
from app.kernel.clock import Clock
from app.kernel.errors import Fault, FieldError, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin
from app.surfaces.connection import principal_of
from app.surfaces.streams import task_frames as frames
from app.surfaces.streams.conversation import Conversation
from app.surfaces.streams.frames import NOW, Ping, Pong, Refused
from app.surfaces.streams.handshake import AnySocket, converse, refuse, request_id_of
from app.surfaces.streams.open_streams import OpenStreams

PATH = "/api/v1/tasks/socket"
MAX_KNOWN = 1000


@dataclass(frozen=True, slots=True)
class TaskDoor:
    """What all conversations share."""

    begin: Begin
    runs: RunStore
    log: EventLog
    clock: Clock
    streams: OpenStreams


@dataclass(slots=True)
class TaskDesk:
    """Implements `Desk` for one person's runs and one client."""

    door: TaskDoor
    who: Principal
    request_id: str
    since: datetime
    topics: frames.Topics = field(default_factory=frames.Topics)
    _told: int = 0
    _known: dict[RunId, Run | None] = field(default_factory=dict)

    def follow(self, after: RunsCursor | None) -> AsyncGenerator[PlacedEvent]:
        return self.door.log.follow_person(self.who.user_id, after=after)

    async def write(self, event: PlacedEvent) -> str | None:
        if not self.topics.wants(event.event.type):
            return None
        run = await self._run_of(event)
        if not self.topics.wants_run(run, event):
            return None
        self._told += 1
        return frames.write_event(event, run)

    async def answer(self, conversation: Conversation, text: str) -> str:
        return frames.write_frame(await self._answer(conversation, text))

    async def leave(self) -> None:
        """Let the runs go on."""

    def welcome(self) -> str:
        return frames.write_frame(frames.Connected(client_id=str(uuid4()), topics=self.topics.names))

    async def _answer(self, conversation: Conversation, text: str) -> frames.ServerFrame:
        frame: frames.ClientFrame | None = None
        try:
            frame = frames.read_frame(text)
            match frame:
                case frames.SubscribeTopics():
                    return await self._subscribe(conversation, frame)
                case frames.GetStats():
                    return self._stats(frame)
                case Ping():
                    return Pong(id=frame.id, at=self.door.clock.now())
        except Fault as fault:
            problem = problem_of(fault, instance=PATH, request_id=self.request_id)
            return Refused(id=None if frame is None else frame.id, problem=msgspec.Raw(problem.body))

    async def _subscribe(self, conversation: Conversation, frame: frames.SubscribeTopics) -> frames.SubscribedTopics:
        after = place_of(frame.after)
        if frame.topics is not None:
            self.topics = frames.Topics.of(frame.topics)
        if frame.after:
            await conversation.begin_anew(after)
        return frames.SubscribedTopics(id=frame.id, topics=self.topics.names)

    def _stats(self, frame: frames.GetStats) -> frames.Stats:
        return frames.Stats(
            id=frame.id,
            active_connections=self.door.streams.open_now("websocket"),
            subscriptions=self.topics.names,
            events=self._told,
            connected_at=self.since,
        )

    async def _run_of(self, event: PlacedEvent) -> Run | None:
        """Read whose an event is, once a run."""
        run_id = event.event.run_id
        if run_id not in self._known:
            async with self.door.begin() as tx:
                self._known[run_id] = await self.door.runs.find(tx, run_id)
            if len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
        return self._known[run_id]


@websocket(PATH)
@inject_websocket
async def task_events(socket: AnySocket, door: FromDishka[TaskDoor]) -> None:
    try:
        who = principal_of(socket)
        after = place_of(socket.query_params.get("after", ""))
        topics = frames.Topics.of(socket.query_params.getall("topic", []))
    except Fault as fault:
        await refuse(socket, fault)
        return
    desk = TaskDesk(door, who, request_id_of(socket), door.clock.now(), topics)
    await converse(socket, door.streams, desk, after, welcome=desk.welcome())


def place_of(text: str) -> RunsCursor | None:
    """Read a cursor; none, and `now`, are what comes from now on. Errors: ValidationFailed."""
    if text in {"", NOW}:
        return None
    try:
        return RunsCursor.parse(text)
    except ValueError:
        wrong = FieldError("after", f"must be RUN_ID:SEQ, or {NOW}")
        raise ValidationFailed("Some fields are not valid.", errors=[wrong]) from None
