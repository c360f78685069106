"""An `Agent` and its model, made ready to answer turns.

What lives here: the prompt (history that fits, instructions, the question), the limits of one turn, and the second try
when the provider finds the prompt too long after all. What does not: how its requests and calls become steps of the
turn's journal (`durability.py`), what a tool does (`tools/`), and what an error is called (`failures.py`).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import pydantic_ai
import structlog
from pydantic_ai import AgentRunResult, UsageLimits
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.toolsets import AbstractToolset

from app.agents.contract import Agent, AgentFailed, Attachment, PastMessage, Tool, Turn, TurnTooLong
from app.agents.llm.compaction import OPENING, Summaries, room_for_summary
from app.agents.llm.durability import TurnDurability, working_on
from app.agents.llm.failures import PROMPT_TOO_LONG, REFUSED, as_fault
from app.agents.llm.files import FILES_SHARE, fitting_files, not_taken, refuse_untakeable, shown, without_files
from app.agents.llm.kept import bounded
from app.agents.llm.model_step import PromptTooLong
from app.agents.llm.told import pinned_of, told_of
from app.agents.llm.window import MESSAGE_TOKENS, estimate_file, estimate_tokens, fit, text_of, tokens_of
from app.agents.turns import Said
from app.agents.work import Work

REQUEST_LIMIT = 20
TOOL_CALLS_LIMIT = 50
ARGUMENT_RETRIES = 2
"""How often a model may mend the arguments of one tool, or an unusable answer."""

log = structlog.get_logger(__name__)

UNKNOWN_WINDOW_TOKENS = 32_000
ANSWER_SHARE = 4
"""A quarter of the window stays free for the answer of a model without a cap, and for what tools give back."""
TRIM_SHARE = 4
"""The oldest turns are dropped a quarter of the window at a time."""
_PINNED_TOO_LONG = (
    "The message, with what is pinned to the chat, does not fit into the language model's window; shorten it."
)


class ModelAgent:
    """Concurrency: answers any number of turns at once; nothing of one is kept for the next."""

    def __init__(self, spec: Agent, model: object, toolset: AbstractToolset[Work]) -> None:
        """Make the agent; `model` is what `Models.load` gave, `toolset` offers what is in a turn's work."""
        if not isinstance(model, Model):
            raise TypeError(f"{model!r} is not a model")
        self._model = model
        self._agent = pydantic_ai.Agent(
            model,
            name=spec.name,
            instructions=spec.instructions,
            deps_type=Work,
            toolsets=[toolset] if self.calls_tools else [],
            retries=ARGUMENT_RETRIES,
            capabilities=[TurnDurability()],
        )
        self._summaries = Summaries()
        self._fixed_tokens = estimate_tokens(spec.instructions) + MESSAGE_TOKENS

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

    @property
    def window_tokens(self) -> int:
        return self._model.context_window or UNKNOWN_WINDOW_TOKENS

    async def answer(self, work: Work) -> Said:
        """Ask the model, with as much of the history as fits, until it has no more tools to call.

        Errors: ModelUnavailable, AgentFailed, AttachmentNotTaken, TurnTooLong, TurnUnreadable, BudgetReached.
        """
        turn = work.turn
        refuse_untakeable(turn.attachments, self._model.profile)
        window = self.window_tokens
        step = window // TRIM_SHARE
        history = await self._history(work, window)
        while True:
            try:
                result = await self._run(work, history)
            except PromptTooLong as refused:
                # The estimate was too low: once more with half. Only for the first request, before any tool has acted.
                if not (history and work.request == 1):
                    raise TurnTooLong(_too_long(turn)) from refused
                history = fit(history, limit_tokens=tokens_of(history) // 2, step_tokens=step)
                continue
            except (NotImplementedError, UserError) as error:  # what the adapter of another of the chain cannot send
                if not (given := _given(turn, history)):
                    raise
                raise not_taken(given) from error
            except AgentRunError as error:
                fault = as_fault(error)
                if isinstance(fault, AgentFailed) and fault.detail == REFUSED and _given(turn, history):
                    fault = AgentFailed(f"{REFUSED} Maybe it takes no such files.", evidence=fault.evidence)
                log.warning("model.failed", request_id=turn.request_id, detail=fault.detail, **fault.evidence)
                raise fault from None  # a traceback would show the provider's words, and the model's
            usage = replace(work.usage, tool_calls=result.usage.tool_calls)
            said = without_files(result.new_messages(), turn.text, turn.attachments)
            return Said(work.text, usage, work.model or self._model.model_name, bounded(said))

    async def _history(self, work: Work, window: int) -> tuple[PastMessage, ...]:
        """Give what fits of the conversation, and in short what does not, where the window has room for that."""
        room, step = self._room_tokens(work, window), window // TRIM_SHARE
        before = fitting_files(work.turn.history, self._model.profile, limit_tokens=room // FILES_SHARE)
        history = fit(before, limit_tokens=room, step_tokens=step)
        for_summary = min(room_for_summary(window), room // 2)
        if len(history) == len(before) or not for_summary:
            return history
        history = fit(before, limit_tokens=room - for_summary - MESSAGE_TOKENS, step_tokens=step)
        left_out = _spoken(before)[: -len(_spoken(history)) or None]
        if not left_out:  # only of what holds for all turns was there too much
            return history
        summary = await self._summaries.of(left_out, work, self._model, limit_tokens=for_summary)
        return (PastMessage("system", f"{OPENING}{summary}"), *history) if summary else history

    async def _run(self, work: Work, history: Sequence[PastMessage]) -> AgentRunResult[str]:
        with working_on(work):
            return await self._agent.run(
                shown(work.turn.text, work.turn.attachments),
                deps=work,
                instructions=pinned_of(work.turn) or None,
                message_history=[*_as_messages(history), *_told(work.turn)],
                usage_limits=UsageLimits(request_limit=REQUEST_LIMIT, tool_calls_limit=TOOL_CALLS_LIMIT),
            )

    def _room_tokens(self, work: Work, window: int) -> int:
        turn = work.turn
        texts = (text_of(one) for one in turn.attachments if one.is_text)
        text = "".join((turn.text, told_of(turn), pinned_of(turn), *texts))
        shown = [tool for tool in work.tools.values() if tool.name not in work.hidden]
        fixed = self._fixed_tokens + _schema_tokens(shown)
        answer = (self._model.settings or {}).get("max_tokens") or window // ANSWER_SHARE
        files = sum(estimate_file(one) for one in turn.attachments if not one.is_text)
        room = window - answer - fixed - estimate_tokens(text) - files - MESSAGE_TOKENS * (1 + len(turn.attachments))
        # the estimate errs upwards, so it refuses nobody alone: the text must be too long at four characters a token
        if room < 0 and len(text) // 4 > window - answer:
            raise TurnTooLong(_too_long(turn))
        return max(room, 0)


def _given(turn: Turn, history: Sequence[PastMessage]) -> list[Attachment]:
    """List what the model is shown that is no text."""
    before = [one for message in history for one in message.attachments]
    return [one for one in (*before, *turn.attachments) if one.content is not None and not one.is_text]


def _too_long(turn: Turn) -> str:
    words = _PINNED_TOO_LONG if turn.pinned else PROMPT_TOO_LONG
    return f"{words} Or attach less to it." if turn.attachments else words


def _spoken(history: Iterable[PastMessage]) -> list[PastMessage]:
    return [message for message in history if message.role != "system"]


def _schema_tokens(tools: Iterable[Tool]) -> int:
    return sum(
        estimate_tokens(f"{tool.name} {tool.description}") + estimate_tokens(json.dumps(tool.parameters))
        for tool in tools
    )


def _as_messages(history: Iterable[PastMessage]) -> list[ModelMessage]:
    return [_as_message(message) for message in history]


def _told(turn: Turn) -> list[ModelMessage]:
    told = told_of(turn)
    return [ModelRequest([SystemPromptPart(told)])] if told else []


def _as_message(message: PastMessage) -> ModelMessage:
    match message.role:
        case "user":
            return ModelRequest([UserPromptPart(shown(message.content, message.attachments))])
        case "system":
            return ModelRequest([SystemPromptPart(message.content)])
        case "assistant":
            return ModelResponse([TextPart(message.content)])
