"""Makes a turn of the model library durable: each model request and each tool call is a step of the turn's journal.

Built on the library's own interface for engines (`pydantic_ai.durable_exec`), and on no private name of it.
Facts
- Names of steps are kept in journals, so they never change: `model` is a request, `tool.NAME` a call; the journal
  counts how often each came.
- Tools are called one after the other, so that they come in the same order every time.
- Listing tools and telling events are no steps: they change nothing.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import cast

from pydantic_ai import RunContext
from pydantic_ai.capabilities.abstract import ValidatedToolArgs, WrapToolExecuteHandler
from pydantic_ai.durable_exec import (
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationId,
    EventStreamHandlerId,
    JournalCallableOperationBackend,
    ModelRequestId,
    RoleBasedOperationConfig,
)
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import AgentStreamEvent, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition

from app.agents.llm.kept import StrictCodec, read_result, write_result
from app.agents.llm.model_step import RequestStep
from app.agents.turns import InDoubt
from app.agents.work import Work
from app.kernel.values import Json

_IN_DOUBT = (
    "It is not known whether this was done: the program stopped in the midst of it. Do not call the tool again before "
    "you have found out, or the person who asked has said so."
)


@dataclass(slots=True)
class _Run:
    work: Work
    request: RequestStep | None = None
    tool_call_id: str = ""


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
    is_idempotent: bool = True


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
                return await _call(run, config, body)


async def _call(run: _Run, step: _Step, body: Callable[[], Awaitable[object]]) -> Json:
    async def act(key: str) -> Json:
        del key  # the tool finds it in its work
        return write_result(cast("Json", await body()))

    said_under = {"tool_call_id": run.tool_call_id}
    return read_result(await run.work.step(step.name, act, said_under=said_under, is_idempotent=step.is_idempotent))


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

    def __init__(self, *, once_only: AbstractSet[str]) -> None:
        """Say which tools must not be called twice for one call of the model's."""
        super().__init__(event_stream_handler=_hear)
        self._once_only = once_only

    @property
    def in_durable_context(self) -> bool:
        return _RUN.get() is not None

    def get_durable_operation_backend(self) -> _Steps:
        config = RoleBasedOperationConfig(
            model=_Step("model"),
            event=_Step("event"),
            capability=_Step("capability"),
            tool=_Step("tool"),
            resolve_tool=self._step_of_tool,
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

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Work],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> object:
        run = _RUN.get()
        if run is not None:
            run.tool_call_id = call.tool_call_id
        try:
            return await super().wrap_tool_execute(ctx, call=call, tool_def=tool_def, args=args, handler=handler)
        except InDoubt as doubt:
            await _tell_doubt(ctx.deps, call)
            raise ToolFailed(_IN_DOUBT) from doubt

    def _step_of_tool(self, operation_id: DurableOperationId, tool: object | None, tool_name: str) -> _Step:
        del operation_id, tool
        return _Step(f"tool.{tool_name}", is_idempotent=tool_name not in self._once_only)


async def _tell_doubt(work: Work, call: ToolCallPart) -> None:
    """Tell how the call ended, once."""

    async def tell(key: str) -> Json:
        del key
        told = {"tool_call_id": call.tool_call_id, "tool": call.tool_name}
        await work.tell("tool_call_complete", **told, is_error=True, result=_IN_DOUBT)
        return None

    await work.step(f"doubt.{call.tool_name}", tell, said_under={"tool_call_id": call.tool_call_id})


async def _hear(ctx: RunContext[Work], events: AsyncIterable[AgentStreamEvent]) -> None:
    del ctx
    run = _RUN.get()
    if run is not None and run.request is not None:
        await run.request.hear(events)
