"""One request to a model as one step of the turn: told while it streams, said again where the stream broke, kept whole.

Facts
- Whether a request is opened is tried again by the providers' SDKs; a stream that broke after that by us, for only we
  know what of it was told. Where a model stays unavailable, the next of its chain is asked, if there is one.
- A provider that was cut off does not say what it took: then it is estimated, from above.
- A server that dies politely ends its stream like one that is done; it is known by what is missing: the reason why the
  model finished, or, of servers that may never give one, the usage, too. They send both last.
"""

import asyncio
import random
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import anyio
import structlog
from pydantic_ai.exceptions import AgentRunError, ModelAPIError, ModelHTTPError, ModelQuotaExceededError
from pydantic_ai.messages import (
    AgentStreamEvent,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.models import ModelRequestContext
from pydantic_core import from_json, to_json

from app.agents.contract import AgentFailed, ModelUnavailable
from app.agents.llm.chain import Link, asked, links_of
from app.agents.llm.failures import Silent, is_overflow, outage_of
from app.agents.llm.kept import KeptResponse, answer_of, digest, load_response, read_response, write_response
from app.agents.llm.prices import estimate, priced, spent
from app.agents.llm.window import estimate_tokens
from app.agents.turns import STEP_LIMIT_BYTES, Usage
from app.agents.work import GOODBYE_TIMEOUT_S, Speech, WantedCall, Work, opening
from app.kernel.values import Json

ATTEMPTS = 3
FIRST_WAIT_S = 0.25
UNSAID_LIMIT_CHARS = 512 * 1024
"""of thoughts and of tool calls' arguments, in one response"""
PATIENCE_S = 60.0
"""how long a model may say nothing at all before the next of its chain is asked"""
TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

log = structlog.get_logger(__name__)


class PromptTooLong(Exception):
    """The provider refused the prompt; kept like an answer, so that a turn begun again goes the same way."""

    def __init__(self) -> None:
        super().__init__("the provider found the prompt too long")


class _BrokenOff(Exception):
    """A stream ended as if it were done, in the midst of it."""

    def __init__(self) -> None:
        super().__init__("the stream ended without its end")


@dataclass(slots=True)
class _Attempt:
    """One try of a request, and how far it came. `takes_back` says why what was told before it is void."""

    key: str
    link: Link
    estimate: Usage
    takes_back: Mapping[str, Json] | None = None
    patience: asyncio.Timeout | None = None
    is_open: bool = False
    unsaid_chars: int = 0
    taken: Usage | None = None
    is_estimated: bool = False
    is_settled: bool = False

    def open(self) -> None:
        self.is_open = True
        if self.patience is not None and not self.patience.expired():
            self.patience.reschedule(None)

    def take_in(self, text: str) -> None:
        self.unsaid_chars += len(text)
        if self.unsaid_chars > UNSAID_LIMIT_CHARS:
            raise _too_large()


@dataclass(slots=True)
class RequestStep:
    """The request under way of one turn."""

    work: Work
    context: ModelRequestContext
    speech: Speech
    conversation: str
    _attempt: _Attempt = field(init=False)
    _number: int = 0
    _usage: Usage = field(default_factory=Usage)

    @classmethod
    def begin(cls, work: Work, context: ModelRequestContext) -> "RequestStep":
        return cls(work, context, Speech(work), digest(context.messages))

    async def hear(self, events: AsyncIterable[AgentStreamEvent]) -> None:
        """Tell what comes. The first piece of a part is in its start."""
        attempt = self._attempt
        attempt.open()
        async for event in events:
            match event:
                case (
                    PartStartEvent(part=TextPart(content=text))
                    | PartDeltaEvent(delta=TextPartDelta(content_delta=text))
                ):
                    await self.speech.say(text)
                case (
                    PartStartEvent(part=ThinkingPart(content=text))
                    | PartDeltaEvent(delta=ThinkingPartDelta(content_delta=str() as text))
                ):
                    attempt.take_in(text)
                    await self.speech.think(text)
                case PartDeltaEvent(delta=ToolCallPartDelta(args_delta=str() as text)):
                    attempt.take_in(text)  # told when the call is made
                case _:  # more kinds may come with the library
                    pass

    async def run(self, name: str, body: Callable[[], Awaitable[object]]) -> Json:
        """Do the request once, however often the program dies, and give the response as it is kept.

        Errors: what the model library raises, ModelUnavailable, PromptTooLong, TurnUnreadable, BudgetReached, InDoubt.
        """

        async def ask(key: str) -> Json:
            kept = write_response(await self._ask(key, body), conversation=self.conversation)
            if len(to_json(kept)) > STEP_LIMIT_BYTES:
                raise _too_large()
            return kept

        kept = await self.work.step(name, ask, said_under={"request": self.work.request})
        response = read_response(kept, conversation=self.conversation)
        self.work.usage += response.usage
        self.work.model = response.model
        if response.payload is None:
            raise PromptTooLong
        read = load_response(response.payload)
        self.work.calls = [_wanted(part) for part in read.parts if isinstance(part, ToolCallPart)]
        answer = answer_of(read)
        self.work.text += opening(self.work.text) + answer if answer else ""
        self.work.request += 1
        return response.payload

    async def _ask(self, key: str, body: Callable[[], Awaitable[object]]) -> KeptResponse:
        self._number, self._usage = 0, Usage()
        links = links_of(self.context.model, with_tools=bool(self.context.model_request_parameters.function_tools))
        for place, link in enumerate(links, start=1):
            void: Mapping[str, Json] | None = {"reason": "another_model", "model": link.name} if place > 1 else None
            try:
                return await self._ask_one(link, key, body, void, has_next=place < len(links))
            except Exception as error:
                outage = outage_of(error)
                if outage is None:
                    raise
                link.standing.failed(link.name, outage.detail, retry_after_s=_retry_after_s(outage))
                log.warning(
                    "model.unavailable", request_id=self.work.turn.request_id, asked=link.name, **outage.evidence
                )
                if place == len(links):
                    raise outage from None  # a traceback would show the provider's words
        raise AssertionError("the last model returns or raises")

    async def _ask_one(
        self,
        link: Link,
        key: str,
        body: Callable[[], Awaitable[object]],
        void: Mapping[str, Json] | None,
        *,
        has_next: bool,
    ) -> KeptResponse:
        for number in range(1, ATTEMPTS + 1):
            self._number += 1
            again: Mapping[str, Json] | None = (
                {"reason": "broken_off", "attempt": number, "attempts": ATTEMPTS} if number > 1 else void
            )
            attempt = _Attempt(f"{key}.{self._number}", link, self._estimate(link), again)
            await self.work.reserve(attempt.key, attempt.estimate)
            self._attempt = attempt
            try:
                payload, taken = await self._tried(attempt, body, patience_s=PATIENCE_S if has_next else None)
            except BaseException as error:
                self._usage += await self._cut_off(attempt, error)
                if isinstance(error, AgentRunError) and is_overflow(error):
                    return KeptResponse(None, self._usage, link.model.model_name)
                if not (attempt.is_open and _is_transient(error)):
                    raise
                if number == ATTEMPTS:
                    raise _gave_up(error) from None
                log.warning("model.broke_off", request_id=self.work.turn.request_id, attempt=number, error=_kind(error))
                await asyncio.sleep(FIRST_WAIT_S * 2 ** (number - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            else:
                link.standing.answered(link.name)
                return KeptResponse(payload, self._usage + taken, link.model.model_name)
        raise AssertionError("the last attempt returns or raises")

    def _estimate(self, link: Link) -> Usage:
        context = self.context
        return estimate(link.model, context.messages, context.model_request_parameters, context.model_settings)

    async def _tried(
        self, attempt: _Attempt, body: Callable[[], Awaitable[object]], *, patience_s: float | None
    ) -> tuple[Json, Usage]:
        if attempt.takes_back is not None:
            await self.speech.take_back(attempt.takes_back)
        try:
            with asked(attempt.link):
                async with asyncio.timeout(patience_s) as attempt.patience:
                    payload = cast("Json", await body())
        except TimeoutError as error:
            if attempt.patience is not None and attempt.patience.expired():
                raise Silent from error
            raise
        response = load_response(payload)
        if is_cut(response):
            raise _BrokenOff
        await self._say_the_rest(answer_of(response))
        taken = spent(response)
        return payload, await self._settle(attempt, taken or self._so_far(), is_estimated=taken is None)

    async def _say_the_rest(self, answer: str) -> None:
        """Make what was told equal what is kept: also for a model that does not stream, or thinks better of it."""
        whole = opening(self.work.text) + answer if answer else ""
        if self.speech.text == whole:
            return
        if self.speech.text:
            await self.speech.take_back({"reason": "rewritten"})
        await self.speech.say(answer)

    async def _cut_off(self, attempt: _Attempt, error: BaseException) -> Usage:
        """Settle a request without an answer: refused ones took nothing, the others what they may have."""
        was_refused = isinstance(error, ModelAPIError | ModelUnavailable) and not attempt.is_open
        taken = Usage(requests=1) if was_refused else self._so_far()
        with anyio.move_on_after(GOODBYE_TIMEOUT_S, shield=True):
            return await self._settle(attempt, taken, is_estimated=not was_refused)
        return taken

    async def _settle(self, attempt: _Attempt, taken: Usage, *, is_estimated: bool) -> Usage:
        """Write down once what an attempt took; what was to be written first stays, where that was interrupted."""
        if attempt.taken is None:
            attempt.taken, attempt.is_estimated = taken, is_estimated
        if not attempt.is_settled:
            model = attempt.link.model.model_name
            await self.work.settle(attempt.key, attempt.taken, model=model)
            attempt.is_settled = True
            await self.work.tell_spent(attempt.taken, model=model, is_estimated=attempt.is_estimated)
        return attempt.taken

    def _so_far(self) -> Usage:
        said = estimate_tokens(self.speech.text) + self.speech.thoughts_chars
        return priced(self._attempt.link.model, self._attempt.estimate.input_tokens, said)


def _wanted(part: ToolCallPart) -> WantedCall:
    arguments: Json | None = None
    with suppress(ValueError):
        arguments = from_json(part.args or "{}") if isinstance(part.args, str | None) else part.args
    return WantedCall(part.tool_call_id, part.tool_name, arguments if isinstance(arguments, Mapping) else None)


def is_cut(response: ModelResponse) -> bool:
    if response.provider_name is None or "finish_reason" in (response.provider_details or {}):
        return False
    # For servers that speak OpenAI's language the library puts a reason where there was none: some never give one.
    return response.finish_reason is None or spent(response) is None


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, ModelQuotaExceededError):
        return False
    if isinstance(error, ModelHTTPError):
        return error.status_code in TRANSIENT_STATUSES
    return isinstance(error, ModelAPIError | _BrokenOff)


def _too_large() -> AgentFailed:
    return AgentFailed("The language model gave more than a turn keeps.")


def _retry_after_s(fault: ModelUnavailable) -> float | None:
    asked_for = fault.headers.get("Retry-After", "")
    return float(asked_for) if asked_for.isdecimal() else None


def _kind(error: BaseException) -> str:
    """Name what happened: the provider's own words may hold what belongs in no log."""
    return type(error).__name__


def _gave_up(error: BaseException) -> ModelUnavailable:
    return ModelUnavailable(
        f"The language model broke off its answer {ATTEMPTS} times.", evidence={"cause": type(error).__name__}
    )
