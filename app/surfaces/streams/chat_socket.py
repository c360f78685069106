"""What a client may do on a chat's WebSocket (`conversation.py`): follow its runs, begin turns, stop them."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec

from app.features.chats.domain.turn import Wish
from app.features.chats.schemas import MessageOut
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.runs.ports import RunStore
from app.features.runs.schemas import RunOut
from app.features.runs.use_cases.cancel_run import CancelRun
from app.infra.durable.ports import Engine
from app.infra.events.ports import LAST_WORDS, EventLog, PlacedEvent, RunsCursor
from app.infra.wire.problems import problem_of
from app.kernel.clock import Clock
from app.kernel.errors import Fault, FieldError, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import AttachmentId, ChatId, RunId
from app.kernel.transaction import Begin
from app.kernel.values import Json
from app.surfaces.streams import frames
from app.surfaces.streams.conversation import Conversation
from app.surfaces.streams.open_streams import OpenStreams

LEFT = "its client left"


@dataclass(frozen=True, slots=True)
class ChatDoor:
    """What all conversations share."""

    begin: Begin
    runs: RunStore
    engine: Engine
    log: EventLog
    clock: Clock
    exchange: ExchangeMessage
    cancel: CancelRun
    streams: OpenStreams


@dataclass(slots=True)
class ChatDesk:
    """Implements `Desk` for one chat and one client."""

    door: ChatDoor
    who: Principal
    chat_id: ChatId
    request_id: str
    _own: set[RunId] = field(default_factory=set)
    """runs that are to end with this client"""

    def follow(self, after: RunsCursor | None) -> AsyncGenerator[PlacedEvent]:
        return self.door.log.follow_chat(self.chat_id, after=after)

    async def write(self, event: PlacedEvent) -> str:
        if event.event.type in LAST_WORDS:
            self._own.discard(event.event.run_id)
        return frames.write_event(event)

    async def answer(self, conversation: Conversation, text: str) -> str:
        return frames.write_frame(await self._answer(conversation, text))

    async def leave(self) -> None:
        for run_id in self._own:
            await self.door.engine.cancel(run_id, reason=LEFT)

    async def _answer(self, conversation: Conversation, text: str) -> frames.ServerFrame:
        frame: frames.ClientFrame | None = None
        try:
            frame = frames.read_frame(text)
            match frame:
                case frames.Send():
                    return await self._send(frame)
                case frames.Cancel():
                    return await self._cancel(frame)
                case frames.Subscribe():
                    return await self._subscribe(conversation, frame)
                case frames.Ping():
                    return frames.Pong(id=frame.id, at=self.door.clock.now())
        except Fault as fault:
            problem = problem_of(fault, instance=f"/api/v1/chats/{self.chat_id}/events", request_id=self.request_id)
            return frames.Refused(id=None if frame is None else frame.id, problem=msgspec.Raw(problem.body))

    async def _send(self, frame: frames.Send) -> frames.Sent:
        wish = Wish(
            text=frame.content,
            waits=frame.on_busy == "queue",
            is_cancelled_on_leaving=frame.on_disconnect == "cancel",
            context=cast("Mapping[str, Json]", frame.context_data),
            request_id=self.request_id,
            attachments=tuple(AttachmentId(one) for one in frame.attachments),
        )
        begun = await self.door.exchange(self.who, self.chat_id, wish)
        if wish.is_cancelled_on_leaving:
            self._own.add(begun.run_id)
        return frames.Sent(id=frame.id, run_id=str(begun.run_id), message=MessageOut.of(begun.question))

    async def _cancel(self, frame: frames.Cancel) -> frames.Cancelled:
        run_id = frame.run_id
        if run_id is None:
            async with self.door.begin() as tx:
                unfinished = await self.door.runs.unfinished(tx, self.chat_id)
            run_id = unfinished[0].id if unfinished else None
        if run_id is None:
            return frames.Cancelled(id=frame.id, run=None)
        return frames.Cancelled(id=frame.id, run=RunOut.of(await self.door.cancel(self.who, RunId(run_id))))

    async def _subscribe(self, conversation: Conversation, frame: frames.Subscribe) -> frames.Subscribed:
        await conversation.begin_anew(await place_of(self.door.log, self.chat_id, frame.after))
        return frames.Subscribed(id=frame.id)


async def place_of(log: EventLog, chat_id: ChatId, text: str) -> RunsCursor | None:
    """Read a cursor: none is in front of everything, `now` behind all that is over. Errors: ValidationFailed."""
    if not text:
        return None
    if text == frames.NOW:
        return await log.chat_end(chat_id)
    try:
        return RunsCursor.parse(text)
    except ValueError:
        wrong = FieldError("after", f"must be RUN_ID:SEQ, or {frames.NOW}")
        raise ValidationFailed("Some fields are not valid.", errors=[wrong]) from None
