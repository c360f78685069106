"""An `Agent` and its model, made ready to answer turns.

What lives here: the prompt (history that fits, instructions, the question), the limits of one turn, and the second try
when the provider finds the prompt too long after all. What does not: tools' failures (`runner.py` calls them) and what
an error is called (`failures.py`).
"""

import json
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import pydantic_ai
from pydantic_ai import AgentRunResult, Tool, UsageLimits
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.usage import RunUsage

from app.agents.contract import Agent, PastMessage, ToolContext, TurnTooLong
from app.agents.llm.failures import as_fault, is_overflow
from app.agents.llm.models import Said
from app.agents.llm.window import MESSAGE_TOKENS, estimate_tokens, fit, tokens_of

REQUEST_LIMIT = 20
TOOL_CALLS_LIMIT = 50
ARGUMENT_RETRIES = 2
"""How often a model may mend the arguments of one tool, or an unusable answer."""

UNKNOWN_WINDOW_TOKENS = 32_000
ANSWER_SHARE = 4
"""A quarter of the window stays free for the answer of a model without a cap, and for what tools give back."""
TRIM_SHARE = 4
"""The oldest turns are dropped a quarter of the window at a time."""


class ModelAgent:
    """Concurrency: answers any number of turns at once; nothing of one is kept for the next."""

    def __init__(self, spec: Agent, model: object, tools: Sequence[Tool[ToolContext]]) -> None:
        """Make the agent; `model` is what `Models.load` gave, `tools` are `spec.tools`, bound."""
        if not isinstance(model, Model):
            raise TypeError(f"{model!r} is not a model")
        self._model = model
        self._tools = tuple(tools) if self.calls_tools else ()
        self._agent = pydantic_ai.Agent(
            model,
            name=spec.name,
            instructions=spec.instructions,
            deps_type=ToolContext,
            tools=self._tools,
            retries=ARGUMENT_RETRIES,
        )
        self._fixed_tokens = estimate_tokens(spec.instructions) + MESSAGE_TOKENS + _schema_tokens(self._tools)

    async def __aenter__(self) -> Self:
        await self._model.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._model.__aexit__(kind, error, trace)

    @property
    def calls_tools(self) -> bool:
        return self._model.profile.get("supports_tools", True)

    async def answer(self, context: ToolContext) -> Said:
        """Ask the model, with as much of the history as fits, until it has no more tools to call.

        Errors: ModelUnavailable, AgentFailed, TurnTooLong.
        """
        window = self._model.context_window or UNKNOWN_WINDOW_TOKENS
        step = window // TRIM_SHARE
        history = fit(context.turn.history, limit_tokens=self._room_tokens(context.turn.text, window), step_tokens=step)
        while True:
            usage = RunUsage()
            try:
                result = await self._run(context, history, usage)
            except AgentRunError as error:
                # The estimate was too low: once more with half. Only for the first request, before any tool has acted.
                if not (is_overflow(error) and history and not usage.requests):
                    raise as_fault(error) from error
                history = fit(history, limit_tokens=tokens_of(history) // 2, step_tokens=step)
                continue
            return Said(
                text=result.output,
                model=self._model.model_name,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                requests=usage.requests,
                tool_calls=usage.tool_calls,
            )

    async def _run(self, context: ToolContext, history: Sequence[PastMessage], usage: RunUsage) -> AgentRunResult[str]:
        return await self._agent.run(
            context.turn.text,
            deps=context,
            message_history=_as_messages(history),
            usage=usage,
            usage_limits=UsageLimits(request_limit=REQUEST_LIMIT, tool_calls_limit=TOOL_CALLS_LIMIT),
        )

    def _room_tokens(self, text: str, window: int) -> int:
        answer = (self._model.settings or {}).get("max_tokens") or window // ANSWER_SHARE
        room = window - answer - self._fixed_tokens - estimate_tokens(text) - MESSAGE_TOKENS
        # the estimate errs upwards, so it refuses nobody alone: the text must be too long at four characters a token
        if room < 0 and len(text) // 4 > window - answer:
            raise TurnTooLong("The message does not fit into the language model's window; say it shorter.")
        return max(room, 0)


def _schema_tokens(tools: Iterable[Tool[ToolContext]]) -> int:
    return sum(
        estimate_tokens(f"{tool.name} {tool.description}")
        + estimate_tokens(json.dumps(tool.tool_def.parameters_json_schema))
        for tool in tools
    )


def _as_messages(history: Iterable[PastMessage]) -> list[ModelMessage]:
    return [_as_message(message) for message in history]


def _as_message(message: PastMessage) -> ModelMessage:
    match message.role:
        case "user":
            return ModelRequest([UserPromptPart(message.content)])
        case "system":
            return ModelRequest([SystemPromptPart(message.content)])
        case "assistant":
            return ModelResponse([TextPart(message.content)])
