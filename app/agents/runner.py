"""The desk: asks an agent, lets it speak, and brings back what it came to, or one of a few known failures.

What lives here: the deadline, the place where an agent's code may raise anything (`tools/calling.py` has the other, for
tools), health.
What does not: prompts and models (`llm/model_agent.py`), discovery (`factory.py`).
Rule: this is the only module that loads what imports the model library, and it does so in a thread: the import takes
seconds, and a loop that stalls drops other people's requests. Neither prompt nor answer is ever logged.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Protocol, Self

import structlog

from app.agents.contract import (
    ALONE,
    UNMETERED,
    Agent,
    AgentCard,
    AgentFailed,
    AgentNotFound,
    AgentTimedOut,
    ModelNotConfigured,
    ModelUnavailable,
    Responder,
    Tool,
    ToolContext,
    ToolSource,
    Turn,
    TurnTooLong,
    TurnUnreadable,
)
from app.agents.errands import Errands
from app.agents.front_door import FrontDoor, FrontDoorUnavailable
from app.agents.house import House, Skill
from app.agents.llm.models import HOW_TO_CONFIGURE, LOCAL, Models, names_in
from app.agents.messages import AttachmentNotTaken
from app.agents.presence import card_of, default_of
from app.agents.skills.going_by import going_by, introduced
from app.agents.skills.source import LOAD
from app.agents.tools.interceptors import UNGUARDED, Interceptors
from app.agents.tools.toolbox import Toolbox
from app.agents.turns import BudgetReached, Journal, Said, Spending
from app.agents.work import JournalLost, Speech, Work
from app.kernel.values import Json

HEALTH_TIMEOUT_S = 5.0

_KNOWN_FAILURES = (
    AgentFailed,
    AgentTimedOut,
    AttachmentNotTaken,
    BudgetReached,
    FrontDoorUnavailable,
    ModelNotConfigured,
    ModelUnavailable,
    TurnTooLong,
    TurnUnreadable,
)
_NOT_CHECKED = "has not been checked yet"
_NEEDS_TOOLS = f"This agent needs a model that can call tools, and the present one cannot. {HOW_TO_CONFIGURE}"

log = structlog.get_logger(__name__)

type _Seat = tuple[str, str]
"""an agent, and the skill it goes by"""


class Voice(Protocol):
    """A model's side of an agent, without the model library's types (`llm.model_agent.ModelAgent`)."""

    @property
    def calls_tools(self) -> bool: ...

    @property
    def window_tokens(self) -> int: ...

    async def answer(self, work: Work) -> Said: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


class AgentRunner:
    """Implements `contract.Agents`.

    Concurrency: for one event loop; any number of turns at once. `aclose` when none runs any more.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent | Responder],
        *,
        models: Models,
        front_door: FrontDoor,
        interceptors: Interceptors = UNGUARDED,
        sources: Sequence[ToolSource] = (),
        house: House | None = None,
        unlisted: Sequence[Agent] = (),
    ) -> None:
        """Stand `interceptors` around every call of a tool; ask `sources` for tools for every agent of a model.

        `unlisted` are asked by their names, and shown to nobody.
        """
        self._agents = agents
        self._unlisted = {agent.name: agent for agent in unlisted}
        self._house = house or House()
        self._interceptors = interceptors
        self._sources = tuple(sources)
        self._toolboxes: dict[_Seat, Toolbox] = {}
        self._models = models
        self._front_door = front_door
        self._voices: dict[_Seat, Voice] = {}
        self._loaded: dict[str, object] = {}
        self._making = asyncio.Lock()
        self._open = AsyncExitStack()
        self.is_prepared = False
        self._troubles: dict[str, str | None] = dict.fromkeys(agents, _NOT_CHECKED)

    @property
    def default_name(self) -> str:
        return default_of(self._agents)

    @property
    def uses_local_model(self) -> bool:
        """Tell whether the local model's child has to run."""
        return any(LOCAL in names_in(self._model_name(spec) or "") for spec in self._specs())

    def cards(self) -> Sequence[AgentCard]:
        return [self._card(name) for name in self._agents]

    def card(self, name: str) -> AgentCard:
        self._member(name)
        return self._card(name)

    async def answer(
        self,
        name: str,
        turn: Turn,
        *,
        journal: Journal,
        timeout_s: float,
        spending: Spending = UNMETERED,
        errands: Errands = ALONE,
    ) -> Said:
        member = self._unlisted.get(name) or self._member(name)
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                work = Work(turn, self._front_door, journal, spending, errands=errands)
                said = await self._ask(name, member, work)
        except TimeoutError as error:  # the deadline's; an agent's own has become AgentFailed by now
            raise AgentTimedOut(f"The agent did not answer within {timeout_s:g} seconds.") from error
        except JournalLost as lost:
            raise lost.cause from lost
        seconds = round(time.monotonic() - started_s, 3)
        log.info("agent.answered", agent=name, request_id=turn.request_id, seconds=seconds)
        return said

    async def prepare(self) -> None:
        """Check the models' names and make every agent of a model ready, so that no turn pays for an import.

        Errors: ModelMisconfigured, AgentBroken: reasons not to start.
        Cost:   one to three seconds in a thread.
        """
        named = [spec for spec in self._specs() if self._model_name(spec) is not None]
        for spec in named:
            self._models.check(self._models.resolve(spec.model))
        for skill in self._house.skills.values():
            if skill.model is not None:
                self._models.check(skill.model)
        for spec in named:
            await self._voice(spec)
        await self.check_health()
        self.is_prepared = True

    async def check_health(self) -> None:
        """Ask each agent's model, or its own `health`, and remember the answers for `cards`; bounded by seconds."""
        async with asyncio.TaskGroup() as checks:
            for name, member in self._agents.items():
                checks.create_task(self._check(name, member))

    async def aclose(self) -> None:
        await self._open.aclose()

    def _member(self, name: str) -> Agent | Responder:
        if name not in self._agents:
            raise AgentNotFound(f"There is no agent of this name; there are: {', '.join(self._agents)}.")
        return self._agents[name]

    def _specs(self) -> list[Agent]:
        listed = [member for member in self._agents.values() if isinstance(member, Agent)]
        return [*listed, *self._unlisted.values()]

    def _model_name(self, spec: Agent) -> str | None:
        try:
            return self._models.resolve(spec.model)
        except ModelNotConfigured:
            return None

    # --- asking

    async def _ask(self, name: str, member: Agent | Responder, work: Work) -> Said:
        try:
            skill = self._skill(work.turn.skill)
            if isinstance(member, Agent):
                said = await self._ask_model(member, skill, work)
            else:
                turn = work.turn if skill is None else replace(work.turn, text=f"{skill.text}\n\n{work.turn.text}")
                said = await _speak(work, partial(_respond, member, turn))
        except _KNOWN_FAILURES:
            raise
        except Exception as error:
            log.exception("agent.failed", agent=name, request_id=work.turn.request_id)
            raise AgentFailed("The agent ran into an error of its own.", evidence={"agent": name}) from error
        if not said.text.strip():
            raise AgentFailed("The agent gave no answer.")
        return said

    def _skill(self, name: str) -> Skill | None:
        """Errors: TurnUnreadable."""
        if name and name not in self._house.skills:
            raise TurnUnreadable(f"There is no skill {name} any more.")
        return self._house.skills[name] if name else None

    async def _ask_model(self, member: Agent, skill: Skill | None, work: Work) -> Said:
        spec = going_by(member, skill)
        work.rules = spec.approvals
        voice = await self._voice(spec, skill) if self._model_name(spec) or spec.fallback is None else None
        if spec.fallback is not None and (voice is None or not voice.calls_tools):
            return await _speak(work, partial(_fall_back, spec.fallback, work))
        if voice is None or (_needs_tools(spec) and not voice.calls_tools):
            raise ModelNotConfigured(_NEEDS_TOOLS)
        if voice.calls_tools:
            await self._toolboxes[_seat(spec, skill)].open(work, window_tokens=voice.window_tokens)
        said = await voice.answer(work)
        log.info(
            "model.answered",
            agent=spec.name,
            model=said.model,
            request_id=work.turn.request_id,
            requests=said.usage.requests,
            tool_calls=said.usage.tool_calls,
            input_tokens=said.usage.input_tokens,
            output_tokens=said.usage.output_tokens,
        )
        return said

    # --- making ready

    async def _voice(self, spec: Agent, skill: Skill | None = None) -> Voice:
        """Errors: ModelNotConfigured, ModelMisconfigured, AgentBroken."""
        seat = _seat(spec, skill)
        async with self._making:
            if seat not in self._voices:
                make = await asyncio.to_thread(self._load, spec, skill)
                # not in the thread: while the library makes an agent it tries to import what is not installed, and a
                # turn that looks for the same at that moment would find it half there
                self._voices[seat] = await self._open.enter_async_context(make())
        return self._voices[seat]

    def _load(self, spec: Agent, skill: Skill | None) -> Callable[[], Voice]:
        """Import what there is to import, make the model and the tools, and give what makes the rest."""
        from app.agents.llm.model_agent import ModelAgent  # noqa: PLC0415 - imports the model library
        from app.agents.tools.binding import bind  # noqa: PLC0415 - as above
        from app.agents.tools.toolset import TurnToolset  # noqa: PLC0415 - as above

        name = self._models.resolve(spec.model)
        if name not in self._loaded:
            self._loaded[name] = self._models.load(name)
        own: list[Tool] = []
        sources: list[ToolSource] = []
        for offer in spec.tools:
            if isinstance(offer, ToolSource):
                sources.append(offer)
            else:
                own.append(offer if isinstance(offer, Tool) else bind(offer))
        only = frozenset({*skill.tools, LOAD}) if skill is not None and skill.tools else frozenset[str]()
        self._toolboxes[_seat(spec, skill)] = Toolbox(spec, own, (*sources, *self._sources), self._house, only)
        model, toolset = self._loaded[name], TurnToolset(self._interceptors)
        return lambda: ModelAgent(introduced(spec, self._house), model, toolset)

    # --- health

    def _card(self, name: str) -> AgentCard:
        member = self._agents[name]
        note = self._models.note(self._model_name(member) or "") if isinstance(member, Agent) else ""
        return card_of(name, member, self._troubles[name], note, self._house)

    async def _check(self, name: str, member: Agent | Responder) -> None:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                trouble = await (self._model_trouble(member) if isinstance(member, Agent) else _own_trouble(member))
        except TimeoutError:
            trouble = f"did not say how it is within {HEALTH_TIMEOUT_S:g} seconds"
        except Exception as error:
            log.exception("agent.check_failed", agent=name)
            trouble = f"its check failed ({type(error).__name__})"
        self._troubles[name] = trouble

    async def _model_trouble(self, spec: Agent) -> str | None:
        name = self._model_name(spec)
        voice = self._voices.get(_seat(spec, None))
        if spec.fallback is not None and (name is None or (voice is not None and not voice.calls_tools)):
            return None
        if name is None:
            return "no language model is configured: set DEFAULT_MODEL"
        if _needs_tools(spec) and voice is not None and not voice.calls_tools:
            return "the configured model cannot call tools"
        return await self._models.trouble(name)


def _seat(spec: Agent, skill: Skill | None) -> "_Seat":
    return spec.name, "" if skill is None else skill.name


def _needs_tools(spec: Agent) -> bool:
    """Tell whether an agent is nothing without tools: those of a source are what it is given besides."""
    return any(not isinstance(offer, ToolSource) for offer in spec.tools)


async def _speak(work: Work, speak: Callable[[Speech, str], Awaitable[None]]) -> Said:
    """Let an agent of code speak, once: what it said is kept as a whole."""

    async def body(key: str) -> Json:
        speech = Speech(work)
        await speak(speech, key)
        return speech.text

    text = await work.step("answer", body, said_under={"request": work.request})
    if not isinstance(text, str):
        raise TurnUnreadable("The turn was begun by another version of the program, which kept no text.")
    return Said(text)


async def _respond(member: Responder, turn: Turn, speech: Speech, key: str) -> None:
    del key  # an agent of code has no word for it yet
    given = member.generate(turn)
    if not isinstance(given, AsyncIterator):
        await speech.say(await given)
        return
    async with AsyncExitStack() as closing:
        if isinstance(given, AsyncGenerator):
            await closing.enter_async_context(
                aclosing(given)
            )  # its `finally` runs now, also when the turn is cancelled
        async for piece in given:
            await speech.say(piece)


async def _fall_back(fallback: Callable[[ToolContext], Awaitable[str]], work: Work, speech: Speech, key: str) -> None:
    await speech.say(await fallback(ToolContext(work.turn, work.front_door, key)))


async def _own_trouble(member: Responder) -> str | None:
    health = getattr(member, "health", None)
    if health is None:
        return None
    trouble = await health()
    return None if trouble is None else str(trouble)
