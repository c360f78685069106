"""What an agent is, what it is asked, and what it may answer: the words agent authors write against.

Two ways to write one, in a file of `app/agents/library/` or behind the entry point `portico.agents` (`factory.py`):

    agent = Agent(name="support", description="Answers customers", instructions="...", tools=[lookup_order])

    class Echo:
        name = "echo"
        async def generate(self, turn: Turn) -> str: ...      # or an async generator of text pieces

Rule: nothing here knows a model library; only what `runner.py` imports on first use does.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol, runtime_checkable

from app.agents.errands import Errands, NobodyElse
from app.agents.front_door import SAFE_METHODS, FleetAnswer, FrontDoor, Outgoing
from app.agents.house import House, Skill
from app.agents.messages import Attachment as Attachment  # noqa: PLC0414 - one of the words authors write against
from app.agents.messages import PastMessage as PastMessage  # noqa: PLC0414 - as above
from app.agents.messages import Speaker as Speaker  # noqa: PLC0414 - as above
from app.agents.rules import Risk as Risk  # noqa: PLC0414 - one of the words authors write against
from app.agents.rules import Rule
from app.agents.turns import Journal, Said, Spending, Unmetered
from app.kernel.errors import Broken, FieldError, NotFound, TimedOut, TooLarge, Unavailable, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.values import Json

DEFAULT_AGENT = "assistant"
UNMETERED = Unmetered()
ALONE = NobodyElse()
TOOL_TIMEOUT_S = 60.0
_MARK = "portico_traits"


@dataclass(frozen=True, slots=True)
class Turn:
    """One question to an agent.

    `history` is oldest first, without what the user left out of the prompt, and ends before `text`, with which
    `attachments` were given.
    `chat_id` is None outside of a chat, as in a task. `caller` is whose authority every tool call has. `is_attended`
    tells whether a person follows the turn and can be asked. `context` and `channel` are what the client says of it,
    `pinned` is what the chat's owner wants every turn of it to have in mind.
    `thread` names what notes belong to: a chat, or the run above all. `depth` counts those above; `skill` is gone by.
    Where the caller may not write, no tool is offered that does.
    """

    chat_id: ChatId | None
    text: str
    caller: Principal
    request_id: str = ""
    history: tuple[PastMessage, ...] = ()
    is_attended: bool = True
    context: Mapping[str, Json] = field(default_factory=dict)
    channel: str = ""
    pinned: str = ""
    may_write: bool = True
    thread: str = ""
    depth: int = 0
    skill: str = ""
    attachments: tuple[Attachment, ...] = ()

    @property
    def own_thread(self) -> str:
        if self.thread or self.chat_id is not None:
            return self.thread or f"chat:{self.chat_id}"
        return "" if self.caller.acting is None else f"run:{self.caller.acting.run_id}"


type Show = Callable[[str], Awaitable[None]]
type Progress = Callable[[Mapping[str, Json]], Awaitable[None]]


async def _nobody(told: object) -> None:
    """For a tool nobody watches."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool is handed besides the model's arguments.

    `idempotency_key` is of this one call of the tool, the same when the call is made again after a crash: a tool that
    acts outside hands it on, `call` does so by itself. `show` tells who follows the turn what the tool is at,
    `progress` how far the turn is: a `run_progress` event, which stands in the run's row until the next.
    """

    turn: Turn
    front_door: FrontDoor
    idempotency_key: str = ""
    show: Show = _nobody
    progress: Progress = _nobody
    _calls: Iterator[int] = field(default_factory=lambda: count(1), repr=False, compare=False)

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        form: Mapping[str, str | Sequence[str]] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
    ) -> FleetAnswer:
        """Call a service of the fleet as the person who asked.

        What may change something goes with an `Idempotency-Key` of its own, made of this call's key and the number of
        such requests before it: make them in the same order each time.
        """
        key = self._next_key(method)
        return await self.front_door.call(
            self.turn.caller, method, path, json=json, form=form, query=query, idempotency_key=key
        )

    async def call_outside(self, outgoing: Outgoing) -> FleetAnswer:
        """Call a service elsewhere, with a key as `call` does. Errors: ToolRefused."""
        key = self._next_key(outgoing.method)
        return await self.front_door.call_outside(self.turn.caller, outgoing, idempotency_key=key)

    def _next_key(self, method: str) -> str:
        if not self.idempotency_key or method.upper() in SAFE_METHODS:
            return ""
        return f"{self.idempotency_key}.{next(self._calls)}"


class ToolRefused(Exception):
    """A tool says no, in words the model (or the person) can act on; raise it instead of an odd result."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


type Override = Json | Callable[[Turn], Json]
"""The value of an argument the model has no say in; a function is asked for each turn."""

type Overrides = Mapping[str, Override]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a tool's author says of it beyond its signature.

    `timeout_s` is without a sign of life: each `ToolContext.show` is one. What is not idempotent, and cannot tell by
    its key, is not called again where the program died in the midst of it: the model is told that nobody knows.
    `overrides` are arguments the model neither sees nor gives.
    """

    risk: Risk = Risk.WRITES_OUTSIDE
    is_idempotent: bool = True
    timeout_s: float = TOOL_TIMEOUT_S
    overrides: Overrides = field(default_factory=dict)


type ToolFunction = Callable[..., object]
"""`async def tool(ctx: ToolContext, order_id: int) -> Order`: types give the schema, the docstring the description.

A plain `def` works in a thread of its own; blocking code in an `async def` stops everybody else on its process.
"""


def tool[T: ToolFunction](
    *,
    risk: Risk = Risk.WRITES_OUTSIDE,
    is_idempotent: bool = True,
    timeout_s: float = TOOL_TIMEOUT_S,
    overrides: Overrides | None = None,
) -> Callable[[T], T]:
    """Say of a function what its signature cannot (`Traits`); one that is not marked is taken to write outside."""

    def mark(function: T) -> T:
        setattr(function, _MARK, Traits(risk, is_idempotent, timeout_s, overrides or {}))
        return function

    return mark


def traits_of(function: ToolFunction) -> Traits:
    traits: Traits = getattr(function, _MARK, _UNMARKED)
    return traits


_UNMARKED = Traits()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the runner sees it, whatever stands behind it.

    Shapes: `name` of letters, digits, "_" and "-", at most 64; `parameters` is the JSON schema of an object; `origin`
    says in a word where it comes from, for policies and logs (`function`, `rest`, `fleet:agenda`, `mcp:github`).
    `check` is given what JSON says, overrides included, and gives what `call` takes. Errors: ValueError, for the model.
    `call` gives what JSON can say, or becomes. Errors: ToolRefused; whatever else it raises is logged, and told as a
    failure without words of its own.
    `is_the_clients` is of those that whoever follows the turn runs (`tools/client.py`): nothing here calls them.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]  # Any: a JSON schema
    call: Callable[[ToolContext, Mapping[str, Any]], Awaitable[object]]  # Any: as they say
    traits: Traits = Traits()
    origin: str = "function"
    check: Callable[[Mapping[str, Json]], Mapping[str, Any]] = dict
    is_the_clients: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """For whom tools are wanted: at the start of one turn of one agent."""

    agent: "Agent"
    turn: Turn
    front_door: FrontDoor
    house: House = field(default_factory=House)


@runtime_checkable
class ToolSource(Protocol):
    """Tools that depend on who asks and when: a service's operations, a server's tools."""

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        """Give the tools of this turn, in an order of their own; asked again when the turn goes on in another process.

        A source that raises, or takes longer than a few seconds, costs its tools and not the turn.
        """
        ...


type Offer = Tool | ToolFunction | ToolSource


def name_of(tool: Tool | ToolFunction) -> str:
    return tool.name if isinstance(tool, Tool) else getattr(tool, "__name__", "tool")


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of a model and tools. `model` is a pydantic-ai model name; None takes `DEFAULT_MODEL`.

    `fallback` answers where the model cannot call tools, or there is none, so that the agent does real work without.
    `overrides` are arguments, by the name of the tool, that its model has no say in; a tool's own come first.
    `mcp_servers` names those of the configuration whose tools it gets besides.
    `approvals` say which calls wait for a person (`rules.py`); the operator's rules come first.
    `code_execution` gives it a sandbox: `run_code`, and the files of the conversation's own work folder.
    """

    name: str
    description: str
    instructions: str
    tools: Sequence[Offer] = ()
    model: str | None = None
    fallback: Callable[[ToolContext], Awaitable[str]] | None = None
    overrides: Mapping[str, Overrides] = field(default_factory=dict)
    mcp_servers: Sequence[str] = ()
    approvals: Sequence[Rule] = ()
    code_execution: bool = False


@runtime_checkable
class Responder(Protocol):
    """An agent that answers by its own code. May also have `description: str` and `async def health() -> str | None`
    (None when well, else what is wrong).
    """

    name: str

    def generate(self, turn: Turn) -> Awaitable[str] | AsyncIterator[str]: ...


@dataclass(frozen=True, slots=True)
class AgentCard:
    """What a client sees of an agent. `health` is "ok" or what is wrong, in words for people."""

    name: str
    description: str
    is_healthy: bool
    health: str
    tools: tuple[str, ...] = ()
    skills: tuple[Skill, ...] = ()


class AgentDirectory(Protocol):
    """Who sits at the desk, as every process knows it; those that only answer requests ask nobody there."""

    @property
    def default_name(self) -> str: ...

    def cards(self) -> Sequence[AgentCard]: ...

    def card(self, name: str) -> AgentCard:
        """Errors: AgentNotFound."""
        ...


class Agents(AgentDirectory, Protocol):
    """The desk itself: what one of them answers."""

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
        """Ask an agent; what it says on the way goes through `journal.tell`, and is whole in what is given back.

        A turn that was begun before goes on behind the last step its journal kept.
        Errors: AgentNotFound, AgentFailed, AgentTimedOut, ModelNotConfigured, ModelUnavailable, TurnTooLong,
                BudgetReached, TurnUnreadable; whatever else an agent raises becomes AgentFailed.
        Concurrency: any number of turns at once; a cancelled turn cancels the call to the model, or the tool.
        """
        ...


class AgentBroken(Exception):
    """An agent cannot be used, so the program does not start; `where` is its file or entry point."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class AgentDuplicate(AgentBroken):
    """Two agents have the same name; `where` is the second."""

    def __init__(self, where: str, *, name: str, first: str) -> None:
        super().__init__(where, f"there is already an agent {name!r}, in {first}; give one of them another name")


class ModelMisconfigured(Exception):
    """A model that was asked for by name cannot be used, so the program does not start; says how to mend it."""

    def __init__(self, name: str, reason: str, *, mend: str) -> None:
        super().__init__(f"the model {name!r} {reason}; {mend}")
        self.name = name
        self.reason = reason
        self.mend = mend


class AgentNotFound(NotFound):
    type = "agent-not-found"
    title = "There is no agent of this name"


class AgentUnknown(ValidationFailed):
    """Something was to be given to an agent that does not exist."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        message = f"there is no agent {name!r}; there are: {', '.join(known)}"
        super().__init__("Some fields are not valid.", errors=[FieldError("agent", message)])


def refuse_unknown_agent(agents: AgentDirectory, name: str | None) -> None:
    """Errors: AgentUnknown."""
    known = [card.name for card in agents.cards()]
    if name is not None and name not in known:
        raise AgentUnknown(name, known)


class AgentFailed(Broken):
    type = "agent-failed"
    title = "The agent could not answer"


class AgentTimedOut(TimedOut):
    type = "agent-timed-out"
    title = "The agent did not answer in time"


class TurnUnreadable(Broken):
    type = "turn-unreadable"
    title = "The turn was begun by another version of the program, and cannot be gone on with"


class TurnTooLong(TooLarge):
    type = "turn-too-long"
    title = "The message does not fit into the model's window"


class ModelNotConfigured(Unavailable):
    type = "model-not-configured"
    title = "No language model is configured"


class ModelUnavailable(Unavailable):
    type = "model-unavailable"
    title = "The language model cannot be reached"
