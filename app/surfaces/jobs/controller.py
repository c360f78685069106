"""Two-step job streaming: begin a job, then follow it; or wait for it in one request. All three are views of runs.

A job is a task that is delegated to an agent; with a `conversation_id` it is what is said next in that chat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_202_ACCEPTED
from msgspec import Meta, Struct

from app.edge.asgi_client import Receive
from app.features.chats.domain.chat import ChatBusy, ChatNotFound
from app.features.chats.domain.turn import Wish
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.runs.domain.agent_work import AGENT_FAILURES
from app.features.runs.domain.run import path_of
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.await_run import AwaitRun, RunBroken, RunStopped
from app.features.runs.use_cases.follow_run import FollowRun
from app.features.runs.use_cases.read_answer import read_answer
from app.features.tasks.domain.task import PROMPT_LIMIT_CHARS, NewTask, TaskType
from app.features.tasks.use_cases.create_task import CreateTask
from app.infra.db.errors import StorageUnavailable
from app.infra.durable.ports import RunNotFound
from app.infra.wire import sse
from app.kernel.authority import DelegatedTooDeep
from app.kernel.errors import FieldError, NotFound, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import MAX_ID, ChatId, RunId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.transaction import Begin
from app.kernel.values import Json
from app.surfaces.jobs.frames import PREFIX, job_id_of, with_result, write
from app.surfaces.streams.event_stream import EventStream
from app.surfaces.streams.exchange import AnyRequest
from app.surfaces.streams.open_streams import OpenStreams
from app.surfaces.streams.patience import Patience, ProcessGoing
from app.surfaces.streams.run_events import last_event

MAX_ENTRIES = 100
MAX_TIMEOUT_S = 300
TIMEOUT_S = 60

type Text = Annotated[str, Meta(max_length=PROMPT_LIMIT_CHARS)]
type Name = Annotated[str, Meta(max_length=255)]
Who = NamedDependency[Principal]
Keyed = NamedDependency[KeyedRequest | None]


class JobNotFound(NotFound):
    type = "job-not-found"
    title = "There is no such job"


class TextEntry(Struct, frozen=True, forbid_unknown_fields=True):
    content: Text
    type: Literal["text"] = "text"


class JobIn(Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked stands in `textEntries`, `input` or `command`, one of them. `agent_id` is another word for `agent`.

    With `conversation_id`, the id of a chat, it is said there, unless `context_mode` is `stateless`. What else may be
    sent of instances, documents and folders is shown to the agent beside the words, and means nothing here.
    """

    textEntries: Annotated[Sequence[TextEntry], Meta(max_length=MAX_ENTRIES)] | None = None  # noqa: N815 the client's word
    input: Text | None = None
    command: Text | None = None
    agent: Name | None = None
    agent_id: Name | None = None
    conversation_id: Name | int | None = None
    context_mode: Literal["stateless", "stateful"] | None = None
    instance_id: Name | None = None
    screenplay_id: Name | None = None
    document_id: Name | None = None
    ai_provider: Name | None = None
    cwd: Annotated[str, Meta(max_length=4096)] | None = None
    metadata: dict[str, object] | None = None
    timeout: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)] = TIMEOUT_S

    @property
    def words(self) -> str:
        """Errors: ValidationFailed."""
        entries = None if self.textEntries is None else "\n\n".join(entry.content for entry in self.textEntries)
        given = [words for words in (entries, self.input, self.command) if words is not None]
        if len(given) != 1 or not given[0].strip():
            wrong = FieldError("", "needs what is asked in one of textEntries, input and command")
            raise ValidationFailed("Some fields are not valid.", errors=[wrong])
        return given[0]

    @property
    def chat_id(self) -> ChatId | None:
        """Errors: ValidationFailed."""
        if self.conversation_id is None or self.context_mode == "stateless":
            return None
        text = str(self.conversation_id)
        if not (text.isascii() and text.isdigit() and int(text[:20]) <= MAX_ID):
            wrong = FieldError("conversation_id", "must be the id of a chat")
            raise ValidationFailed("Some fields are not valid.", errors=[wrong])
        if self.agent or self.agent_id:
            wrong = FieldError("agent", "is the conversation's own; leave it out, or conversation_id")
            raise ValidationFailed("Some fields are not valid.", errors=[wrong])
        return ChatId(int(text))

    @property
    def context(self) -> Mapping[str, Json]:
        beside = {
            "instance_id": self.instance_id,
            "screenplay_id": self.screenplay_id,
            "document_id": self.document_id,
            "cwd": self.cwd,
            "metadata": cast("Json", self.metadata),
        }
        return {name: value for name, value in beside.items() if value is not None}


class JobStarted(Struct, frozen=True):
    """`stream_url` is where it is followed; it is a run, too, and found at `/api/v1/runs/{run_id}`."""

    job_id: str
    run_id: str
    stream_url: str
    status: Literal["started"] = "started"


class JobDone(Struct, frozen=True):
    job_id: str
    run_id: str
    result: str
    status: Literal["completed"] = "completed"


@dataclass(frozen=True, slots=True)
class Jobs:
    """What the views of a job need."""

    begin: Begin
    create: CreateTask
    exchange: ExchangeMessage
    runs: RunStore
    follow: FollowRun
    await_run: AwaitRun
    patience: Patience
    streams: OpenStreams

    async def start(self, who: Principal, job: JobIn, *, keyed: KeyedRequest | None) -> RunId:
        """Errors: ValidationFailed, AgentUnknown, ChatNotFound, ChatBusy, DelegatedTooDeep."""
        if job.chat_id is not None:
            wish = Wish(job.words, waits=True, context=job.context, request_id=who.request_id)
            return (await self.exchange(who, job.chat_id, wish, keyed=keyed)).run_id
        draft = NewTask(
            who.user_id, TaskType.DELEGATION, job.words, agent=job.agent or job.agent_id, context_data=job.context
        )
        made = await self.create(who, draft, keyed=keyed)
        if made.run_id is None:
            raise RuntimeError("a delegated task that waits for nothing has not begun")
        return made.run_id

    async def answer(self, run_id: RunId) -> str:
        async with self.begin() as tx:
            return await read_answer(self.runs, tx, run_id)


STARTING = (ChatNotFound, ChatBusy, DelegatedTooDeep, StorageUnavailable)


class JobsController(Controller):
    tags = ("jobs",)

    @post(
        "/api/v1/stream-execute",
        summary="Begin a job, to be followed at its stream_url",
        status_code=HTTP_202_ACCEPTED,
        opt={"faults": STARTING},
    )
    @inject
    async def start(
        self, data: JSONBody[JobIn], principal: Who, keyed: Keyed, jobs: FromDishka[Jobs]
    ) -> Response[JobStarted]:
        return _started(await jobs.start(principal, data, keyed=keyed))

    @get(
        "/api/v1/stream/{job_id:str}",
        summary="Follow a job",
        description=(
            "Server-sent events, of which each is `{event, data, status, timestamp, job_id}`: `job_started`, "
            "`status_update`, `on_llm_*`, `on_tool_*`, then `result` or `error`, and `end_of_stream`, always. "
            "Resumed by `Last-Event-ID`."
        ),
        opt={"faults": (JobNotFound, StorageUnavailable)},
        responses={
            200: ResponseSpec(
                dict[str, object], generate_examples=False, media_type=sse.CONTENT_TYPE, description="The job's events"
            ),
            204: ResponseSpec(None, generate_examples=False, description="The job is over, and all of it was read"),
        },
    )
    @inject
    async def stream(
        self, request: AnyRequest, job_id: FromPath[str], principal: Who, jobs: FromDishka[Jobs]
    ) -> Response[Any]:
        after = last_event(request, 0)
        try:
            events = await jobs.follow(principal, _run_of(job_id), after=after)
        except RunNotFound as gone:
            raise JobNotFound from gone
        if events is None:
            return Response(None, status_code=204)
        return EventStream(with_result(events, jobs.answer), jobs.streams, after=after, write=write)

    @post(
        "/execute",
        summary="Begin a job and wait for its result",
        opt={"faults": (*STARTING, *AGENT_FAILURES, RunBroken, RunStopped)},
        responses={
            200: ResponseSpec(JobDone, generate_examples=False, description="What the agent answered"),
            202: ResponseSpec(JobStarted, generate_examples=False, description="It takes longer, and goes on"),
        },
    )
    @inject
    async def execute(
        self, request: AnyRequest, data: JSONBody[JobIn], principal: Who, keyed: Keyed, jobs: FromDishka[Jobs]
    ) -> Response[Any]:
        run_id = await jobs.start(principal, data, keyed=keyed)
        waiting = jobs.await_run(run_id, timeout_s=data.timeout)
        try:
            is_done = await jobs.patience.wait(waiting, cast("Receive", request.receive))
        except ProcessGoing:
            is_done = False
        if not is_done:
            return _started(run_id)
        done = JobDone(job_id_of(run_id), str(run_id), await jobs.answer(run_id))
        return Response(done, status_code=200, headers={"location": path_of(run_id)})


def _started(run_id: RunId) -> Response[JobStarted]:
    job_id = job_id_of(run_id)
    started = JobStarted(job_id, str(run_id), f"/api/v1/stream/{job_id}")
    return Response(started, status_code=HTTP_202_ACCEPTED, headers={"location": path_of(run_id)})


def _run_of(job_id: str) -> RunId:
    """Errors: JobNotFound, also for what is no job's id."""
    try:
        return RunId(UUID(job_id.removeprefix(PREFIX)))
    except ValueError:
        raise JobNotFound from None
