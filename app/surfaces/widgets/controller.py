"""The door for visitors of a page that embeds a chat: no token, one agent, a conversation by its session id."""

from dataclasses import dataclass
from typing import Annotated, Any, cast

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from app.edge.asgi_client import ClientGone, Receive
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.await_run import AwaitRun
from app.features.runs.use_cases.read_answer import read_answer
from app.features.widgets.domain import (
    SESSION_ID_CHARS,
    TEXT_LIMIT_CHARS,
    WidgetFull,
    WidgetNotFound,
    WidgetSessionBusy,
    WidgetSessionFull,
    WidgetSessionNotFound,
)
from app.features.widgets.use_cases.ask_widget import AskWidget, Begun
from app.infra.db.errors import StorageUnavailable
from app.infra.durable.ports import Engine
from app.infra.events.ports import EventLog
from app.kernel.errors import Broken, Fault, RateLimited
from app.kernel.transaction import Begin
from app.surfaces.streams.event_stream import EventStream
from app.surfaces.streams.exchange import LEFT, AnyRequest, wants_events
from app.surfaces.streams.open_streams import OpenStreams
from app.surfaces.streams.patience import Patience, ProcessGoing
from app.surfaces.widgets.frames import FAILED, SPENT, WORDS, Frames, failure_of, farewell

TIMEOUT_S = 120

type Message = Annotated[str, Meta(min_length=1, max_length=TEXT_LIMIT_CHARS)]
type SessionId = Annotated[str, Meta(min_length=SESSION_ID_CHARS, max_length=SESSION_ID_CHARS)]


class ChatFailed(Broken):
    type = FAILED
    title = "The chat could not answer"


class ChatExhausted(RateLimited):
    type = SPENT
    title = "The chat has answered enough for today"


class VisitIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Without `session_id` a new conversation begins."""

    message: Message
    session_id: SessionId | None = None


class VisitOut(Struct, frozen=True):
    session_id: str
    answer: str


@dataclass(frozen=True, slots=True)
class Visits:
    """What the views of an answer need."""

    begin: Begin
    runs: RunStore
    engine: Engine
    log: EventLog
    await_run: AwaitRun
    patience: Patience
    streams: OpenStreams

    def stream(self, begun: Begun) -> EventStream:
        async def leave() -> None:
            await self.engine.cancel(begun.run_id, reason=LEFT)

        frames = Frames(begun.session_id)
        return EventStream(self.log.follow(begun.run_id), self.streams, on_gone=leave, write=frames, farewell=farewell)

    async def whole(self, begun: Begun, receive: Receive) -> VisitOut:
        """Errors: ChatFailed, ChatExhausted; ClientGone."""
        try:
            is_done = await self.patience.wait(self.await_run(begun.run_id, timeout_s=TIMEOUT_S), receive)
        except (ClientGone, ProcessGoing) as gone:
            await self.engine.cancel(begun.run_id, reason=LEFT)
            if isinstance(gone, ClientGone):
                raise
            is_done = False
        except Fault as fault:
            raise _told(fault) from fault
        if not is_done:
            await self.engine.cancel(begun.run_id, reason="its visitor was not answered in time")
            raise ChatFailed(WORDS[FAILED])
        async with self.begin() as tx:
            return VisitOut(begun.session_id, await read_answer(self.runs, tx, begun.run_id))


def _told(fault: Fault) -> Fault:
    """Keep from a visitor what is the operator's business."""
    if isinstance(fault, StorageUnavailable):
        return fault
    type_ = failure_of(fault.type)
    return ChatExhausted(WORDS[SPENT]) if type_ == SPENT else ChatFailed(WORDS[FAILED])


class WidgetsController(Controller):
    path = "/api/v1/public/chat"
    tags = ("public chat",)
    opt = {"access": "PUBLIC"}  # noqa: RUF012 - Litestar reads it as a mapping

    @post(
        "/{widget:str}",
        summary="Say something to the chat of a page",
        description=(
            "For anonymous visitors, where the operator has set a widget up. The conversation goes on with the "
            "`session_id` that is given back. With `Accept: text/event-stream` the answer comes as it is said: "
            "`session`, `text`, `text_again`, and `done` or `error`."
        ),
        status_code=200,
        opt={
            "faults": (
                WidgetNotFound,
                WidgetSessionNotFound,
                WidgetSessionBusy,
                WidgetSessionFull,
                WidgetFull,
                ChatFailed,
                ChatExhausted,
                StorageUnavailable,
            )
        },
        responses={
            200: ResponseSpec(VisitOut, generate_examples=False, description="What the agent answered, or its events"),
        },
    )
    @inject
    async def visit(
        self,
        request: AnyRequest,
        widget: FromPath[str],
        data: JSONBody[VisitIn],
        request_id: NamedDependency[str],
        use_case: FromDishka[AskWidget],
        visits: FromDishka[Visits],
    ) -> Response[Any]:
        begun = await use_case(widget, data.message, session_id=data.session_id, request_id=request_id)
        if wants_events(request):
            return visits.stream(begun)
        return Response(await visits.whole(begun, cast("Receive", request.receive)), status_code=200)
