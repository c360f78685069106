"""An exchange as its client wants to see it: both messages, the run's events as they come, or only that it was begun.

All three are views of the same run, which goes on whether or not anybody looks.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from app.edge.asgi_client import ClientGone, Receive
from app.features.chats.domain.chat import ChatBusy, ChatNotFound
from app.features.chats.domain.turn import Begun, Wish
from app.features.chats.schemas import ExchangeIn, MessageOut, TurnOptions
from app.features.chats.use_cases.await_turn import KNOWN_FAILURES, AwaitTurn
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.runs.controller import accepted
from app.features.runs.domain.run import path_of
from app.features.runs.schemas import EventOut, RunBegun
from app.features.runs.use_cases.await_run import RunBroken
from app.features.runs.use_cases.read_run import ReadRun
from app.infra.db.errors import StorageUnavailable
from app.infra.durable.ports import Engine
from app.infra.events.ports import EventLog
from app.infra.wire import sse
from app.kernel.authority import DelegatedTooDeep
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.keyed_requests import KeyedRequest
from app.surfaces.streams.event_stream import EventStream
from app.surfaces.streams.open_streams import OpenStreams
from app.surfaces.streams.patience import Patience, ProcessGoing

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
TURN_FAULTS = (ChatBusy, StorageUnavailable, RunBroken, *KNOWN_FAILURES, DelegatedTooDeep)
TURN_ANSWERS = {
    200: ResponseSpec(
        EventOut,
        generate_examples=False,
        media_type=sse.CONTENT_TYPE,
        description="The run's events, as they come",
    ),
    201: ResponseSpec(list[MessageOut], generate_examples=False, description="The question and the answer"),
    202: ResponseSpec(
        RunBegun, generate_examples=False, description="The run, in the background or when it takes long"
    ),
}
LEFT = "its client left"


@dataclass(frozen=True, slots=True)
class Views:
    """What the views of an exchange need beside its beginning."""

    engine: Engine
    log: EventLog
    read_run: ReadRun
    await_turn: AwaitTurn
    patience: Patience
    streams: OpenStreams

    async def show(
        self, request: AnyRequest, who: Principal, begun: Begun, wish: Wish, options: TurnOptions
    ) -> Response[Any]:
        """Answer as the client wishes to see the turn."""
        if options.run_mode == "background":
            return await self.background(who, begun)
        if wants_events(request):
            return self.stream(begun, wish)
        receive = cast("Receive", request.receive)
        return await self.sync(who, begun, wish, receive, timeout_s=options.timeout_s)

    async def background(self, who: Principal, begun: Begun) -> Response[RunBegun]:
        return accepted(await self.read_run(who, begun.run_id))

    async def sync(
        self, who: Principal, begun: Begun, wish: Wish, receive: Receive, *, timeout_s: float
    ) -> Response[Any]:
        exchange = None
        try:
            with suppress(ProcessGoing):  # the run goes on elsewhere, and is told of as one that takes long
                exchange = await self.patience.wait(self.await_turn(begun, timeout_s=timeout_s), receive)
        except ClientGone:
            await self._leave(begun, wish)
            raise
        if exchange is None:
            return await self.background(who, begun)
        both = [MessageOut.of(exchange.question), MessageOut.of(exchange.answer)]
        return Response(both, status_code=201, headers={"location": path_of(begun.run_id)})

    def stream(self, begun: Begun, wish: Wish) -> EventStream:
        async def leave() -> None:
            await self._leave(begun, wish)

        headers = {"location": path_of(begun.run_id)}
        return EventStream(self.log.follow(begun.run_id), self.streams, on_gone=leave, headers=headers)

    async def _leave(self, begun: Begun, wish: Wish) -> None:
        if wish.is_cancelled_on_leaving:
            await self.engine.cancel(begun.run_id, reason=LEFT)


class ExchangeController(Controller):
    path = "/api/v1/messages"
    tags = ("messages",)

    @post(
        "/{chat_id:str}/exchange",
        summary="Say something and get the agent's answer",
        opt={"faults": (ChatNotFound, *TURN_FAULTS), "joins": True},
        responses=TURN_ANSWERS,
    )
    @inject
    async def exchange(
        self,
        request: AnyRequest,
        chat_id: FromPath[int],
        data: JSONBody[ExchangeIn],
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        keyed: NamedDependency[KeyedRequest | None],
        use_case: FromDishka[ExchangeMessage],
        views: FromDishka[Views],
    ) -> Response[Any]:
        wish = data.wish(ChatId(chat_id), request_id=request_id)
        begun = await use_case(principal, ChatId(chat_id), wish, keyed=keyed)
        return await views.show(request, principal, begun, wish, data)


def wants_events(request: AnyRequest, *, otherwise: str = "application/json") -> bool:
    """Tell whether events are preferred; whoever takes anything gets `otherwise`."""
    offered = [otherwise, "application/json", sse.CONTENT_TYPE]
    return request.accept.best_match(list(dict.fromkeys(offered)), otherwise) == sse.CONTENT_TYPE
