"""Makes a turn of the model library durable: each model request is a step of the turn's journal.

What a tool does is no operation of the library's: `tools/performing.py` makes steps of it.

Built on the library's own interface for engines (`pydantic_ai.durable_exec`), and on no private name of it.
Facts
- Names of steps are kept in journals, so they never change: `model` is a request; the journal counts how often it came.
- Tools are called one after the other, so that they come in the same order every time.
- Listing tools and telling events are no steps: they change nothing.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pydantic_ai import RunContext
from pydantic_ai.durable_exec import (
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationId,
    EventStreamHandlerId,
    JournalCallableOperationBackend,
    ModelRequestId,
    RoleBasedOperationConfig,
)
from pydantic_ai.messages import AgentStreamEvent
from pydantic_ai.models import ModelRequestContext

from app.agents.llm.kept import StrictCodec
from app.agents.llm.model_step import RequestStep
from app.agents.work import Work


@dataclass(slots=True)
class _Run:
    work: Work
    request: RequestStep | None = None


_RUN: ContextVar[_Run | None] = ContextVar("turn", default=None)


@contextmanager
def working_on(work: Work) -> Iterator[None]:
    """Let what the model library does in here be steps of this turn."""
    token = _RUN.set(_Run(work))
    try:
        yield
    finally:
        _RUN.reset(token)


@dataclass(frozen=True, slots=True)
class _Step:
    """How an operation is kept."""

    name: str


class _Steps(JournalCallableOperationBackend[_Step]):
    """Does each operation of the library as a step."""

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: _Step,
    ) -> object:
        del name, cache_key  # ours are in `config`; a step is known by its name
        run = _RUN.get()
        if run is None:
            return await body()
        match operation_id:
            case EventStreamHandlerId():
                return None  # tools tell by themselves, within their step
            case ModelRequestId() if run.request is not None:
                return await run.request.run(config.name, body)
            case _:
                return await body()  # nothing else of ours is the library's to do


@dataclass(init=False, kw_only=True)
class TurnDurability(BaseDurabilityCapability[Work]):
    """Nothing is durable outside of `working_on`."""

    engine_spec = DurabilityEngineSpec(
        engine_name="Portico",
        durable_unit_noun="step",
        durable_container_noun="turn",
        codec=StrictCodec(),
        journal_discovery=False,
        sequential_tools_in_durable_context=True,
        toolset_lifecycles={"function": "enter-always", "mcp": "enter-in-durable-unit", "dynamic": "enter-never"},
    )

    def __init__(self) -> None:
        super().__init__(event_stream_handler=_hear)

    @property
    def in_durable_context(self) -> bool:
        return _RUN.get() is not None

    def get_durable_operation_backend(self) -> _Steps:
        config = RoleBasedOperationConfig(
            model=_Step("model"),
            event=_Step("event"),
            capability=_Step("capability"),
            tool=_Step("tool"),
        )
        return _Steps(agent_name=self.name, config=config)

    async def before_model_request(
        self, ctx: RunContext[Work], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        prepared = await super().before_model_request(ctx, request_context)
        run = _RUN.get()
        if run is not None:
            run.request = RequestStep.begin(run.work, prepared)
        return prepared


async def _hear(ctx: RunContext[Work], events: AsyncIterable[AgentStreamEvent]) -> None:
    del ctx
    run = _RUN.get()
    if run is not None and run.request is not None:
        await run.request.hear(events)
