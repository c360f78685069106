"""A model that says what it is told to: for tests, and for demos on a machine without a model.

Without a script it answers each turn by what it was shown, so that a reader sees that earlier turns are in its prompt.
Rule: no test calls a real model; it takes this one, and asks it afterwards what it saw (`seen`).
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    RetryPromptPart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.profiles import ModelProfile

from app.agents.contract import PastMessage

REMEMBERED_REQUESTS = 1000
DEFAULT_WINDOW_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call the model makes; `arguments` as JSON text or as values."""

    tool: str
    arguments: str | dict[str, object]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the model saw it. `results` are what calls came to in this run, as text, oldest first."""

    instructions: str
    messages: tuple[PastMessage, ...]
    tools: tuple[str, ...]
    parameters: Mapping[str, dict[str, Any]]  # Any: JSON schemas, by the tool
    results: tuple[str, ...]
    max_tokens: int | None

    @property
    def said_by_user(self) -> tuple[str, ...]:
        return tuple(message.content for message in self.messages if message.role == "user")


type Step = str | Call | Exception | Callable[[Seen], Awaitable[str]]
"""One answer: a text, a tool call, a failure to raise, or code (which may wait, hang or count)."""


class ScriptedModel(FunctionModel):
    """Give the steps one after the other, one for each request, then answer by what was seen.

    Concurrency: many requests at once; steps go to whoever asks first.
    """

    def __init__(self, *script: Step, calls_tools: bool = True, window_tokens: int = DEFAULT_WINDOW_TOKENS) -> None:
        super().__init__(
            self._answer,
            stream_function=self._stream,
            model_name="scripted",
            profile=ModelProfile(supports_tools=calls_tools, context_window=window_tokens),
        )
        self._script = deque(script)
        self.seen: deque[Seen] = deque(maxlen=REMEMBERED_REQUESTS)

    async def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        given = await self._next(messages, info)
        part = ToolCallPart(given.tool, given.arguments) if isinstance(given, Call) else TextPart(given)
        return ModelResponse(parts=[part])

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        given = await self._next(messages, info)
        if isinstance(given, Call):
            arguments = ToolCallPart(given.tool, given.arguments).args_as_json_str()
            yield {0: DeltaToolCall(given.tool, arguments)}
            return
        for position, word in enumerate(given.split(" ")):
            yield f" {word}" if position else word

    async def _next(self, messages: list[ModelMessage], info: AgentInfo) -> str | Call:
        seen = _seen(messages, info)
        self.seen.append(seen)
        step = self._script.popleft() if self._script else _by_what_was_seen(seen)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, str | Call) else await step(seen)


def _by_what_was_seen(seen: Seen) -> str:
    said = seen.said_by_user
    if len(said) < 2:
        return f"You said: {''.join(said)} (turn 1)"
    return f"You said: {said[-1]} (turn {len(said)}; the first thing you said: {said[0]})"


def _seen(messages: list[ModelMessage], info: AgentInfo) -> Seen:
    parts = [part for message in messages for part in message.parts]
    return Seen(
        instructions=info.instructions or "",
        messages=tuple(message for part in parts if (message := _message(part)) is not None),
        tools=tuple(tool.name for tool in info.function_tools),
        parameters={tool.name: tool.parameters_json_schema for tool in info.function_tools},
        results=tuple(text for part in parts if (text := _result(part)) is not None),
        max_tokens=(info.model_settings or {}).get("max_tokens"),
    )


def _result(part: ModelRequestPart | ModelResponsePart) -> str | None:
    match part:
        case ToolReturnPart():
            return part.model_response_str()
        case RetryPromptPart(tool_name=str()):
            return part.model_response()
        case _:
            return None


def _piece(piece: object) -> str:
    """Give a text as it is, and tell of anything else what was seen."""
    if isinstance(piece, BinaryContent):
        return f"<{piece.media_type}, {len(piece.data)} bytes>"
    return str(piece)


def _message(part: ModelRequestPart | ModelResponsePart) -> PastMessage | None:
    match part:
        case UserPromptPart(content=str() as text):
            return PastMessage("user", text)
        case UserPromptPart(content=pieces):
            return PastMessage("user", "\n\n".join(map(_piece, pieces)))
        case SystemPromptPart(content=text):
            return PastMessage("system", text)
        case TextPart(content=text):
            return PastMessage("assistant", text)
        case _:
            return None
