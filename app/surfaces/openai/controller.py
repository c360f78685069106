"""The door for clients of OpenAI: agents as models, and a turn as a chat completion, whole or in pieces.

Its errors are OpenAI's, the edge's among them, where the row says so (`errors = "openai"`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.agents.contract import AgentDirectory, PastMessage, Speaker
from app.edge.asgi_client import ClientGone, Receive
from app.features.completions.domain import Wish
from app.features.completions.use_cases.begin_completion import BeginCompletion
from app.features.runs.domain.run import path_of
from app.features.runs.use_cases.await_run import AwaitRun
from app.features.runs.use_cases.read_run import ReadRun
from app.infra.durable.ports import Engine
from app.infra.events.ports import EventLog
from app.infra.wire import openai
from app.infra.wire.openai import ChatRequest, Head, Message, Spent, words_of
from app.kernel.clock import Clock
from app.kernel.errors import Conflict, TimedOut, Unavailable, refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.keyed_requests import KeyedRequest
from app.surfaces.openai.pieces import Pieces, farewell
from app.surfaces.streams.event_stream import EventStream
from app.surfaces.streams.exchange import LEFT, AnyRequest
from app.surfaces.streams.open_streams import OpenStreams
from app.surfaces.streams.patience import Patience, ProcessGoing

JSON = "application/json"
TIMEOUT_S = 600
"""as long as the official clients wait"""

Who = NamedDependency[Principal]


class ApprovalWanted(Conflict):
    type = "approval-wanted"
    title = "The agent waits for a person's approval"


class AnswerLate(TimedOut):
    type = "answer-late"
    title = "The answer took too long"


class GatewayGoing(Unavailable):
    type = "gateway-going"
    title = "This server is about to stop"


@dataclass(frozen=True, slots=True)
class Completions:
    """What the views of a completion need."""

    begin: BeginCompletion
    engine: Engine
    log: EventLog
    await_run: AwaitRun
    read_run: ReadRun
    patience: Patience
    streams: OpenStreams
    clock: Clock

    def head(self, run_id: RunId, model: str) -> Head:
        return Head(f"chatcmpl-{run_id.hex}", int(self.clock.time_s()), model)

    def stream(self, run_id: RunId, asked: ChatRequest) -> EventStream:
        async def leave() -> None:
            await self.engine.cancel(run_id, reason=LEFT)

        pieces = Pieces(self.head(run_id, asked.model), asked.wants_usage)
        headers = {"location": path_of(run_id)}
        return EventStream(
            self.log.follow(run_id), self.streams, on_gone=leave, headers=headers, write=pieces, farewell=farewell
        )

    async def whole(self, who: Principal, run_id: RunId, asked: ChatRequest, receive: Receive) -> Response[bytes]:
        """Errors: what ended the run otherwise, ApprovalWanted, AnswerLate, GatewayGoing; ClientGone."""
        begun_s = self.clock.monotonic_s()
        is_going = is_done = False
        try:
            try:
                is_done = await self.patience.wait(self.await_run(run_id, timeout_s=TIMEOUT_S), receive)
            except ProcessGoing:
                is_going = True
        except ClientGone:
            await self.engine.cancel(run_id, reason=LEFT)
            raise
        if not is_done:
            await self.engine.cancel(run_id, reason="its client was not answered in time")
            if is_going:
                raise GatewayGoing("Ask again.", headers={"retry-after": "1"})
            if self.clock.monotonic_s() - begun_s >= TIMEOUT_S:
                raise AnswerLate(f"There was no answer within {TIMEOUT_S} seconds.")
            raise ApprovalWanted("Ask with `stream`, and approve while the answer is followed, or ask in a chat.")
        run = await self.read_run(who, run_id)
        spent = Spent(run.usage.input_tokens, run.usage.output_tokens)
        body = openai.completion(self.head(run_id, asked.model), run.answer or "", spent)
        return Response(body, status_code=200, media_type=JSON, headers={"location": path_of(run_id)})


class OpenAIController(Controller):
    path = "/v1"
    include_in_schema = False  # OpenAI describes it

    @get("/models")
    @inject
    async def list_models(self, agents: FromDishka[AgentDirectory]) -> Response[bytes]:
        return Response(openai.models([card.name for card in agents.cards()]), media_type=JSON)

    @get("/models/{name:str}")
    @inject
    async def read_model(self, name: FromPath[str], agents: FromDishka[AgentDirectory]) -> Response[bytes]:
        return Response(openai.model(agents.card(name).name), media_type=JSON)

    @post("/chat/completions", status_code=200, opt={"joins": True})
    @inject
    async def complete(
        self,
        request: AnyRequest,
        data: JSONBody[ChatRequest],
        principal: Who,
        keyed: NamedDependency[KeyedRequest | None],
        completions: FromDishka[Completions],
    ) -> Response[bytes] | EventStream:
        refuse_invalid(list(data.problems()))
        run_id = await completions.begin(principal, _wish_of(data, request_id=principal.request_id), keyed=keyed)
        if data.stream:
            return completions.stream(run_id, data)
        return await completions.whole(principal, run_id, data, cast("Receive", request.receive))


def _wish_of(asked: ChatRequest, *, request_id: str) -> Wish:
    *before, last = asked.messages
    return Wish(asked.model, words_of(last), tuple(_history(before)), request_id=request_id)


def _history(messages: Sequence[Message]) -> Sequence[PastMessage]:
    """Leave out what says nothing."""
    said = [(one.role, words_of(one)) for one in messages]
    return [PastMessage(_SPEAKERS[role], text) for role, text in said if text.strip()]


_SPEAKERS: dict[str, Speaker] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
