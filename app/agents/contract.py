"""What an agent is, what it is asked, and what it may answer: the words agent authors write against.

Two ways to write one, in a file of `app/agents/library/` or a package with the entry point `portico.agents`:

    agent = Agent(name="support", description="Answers customers", instructions="...", tools=[lookup_order])

    class Echo:
        name = "echo"
        async def generate(self, turn: Turn) -> str: ...      # or an async generator of text pieces

Rule: nothing here knows a model library; `runner.py` is the only module that does.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from app.kernel.errors import Broken, FieldError, NotFound, TimedOut, Unavailable, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import ChatId

type Speaker = Literal["user", "assistant", "system"]


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message said before this turn, as the model is to see it."""

    role: Speaker
    content: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One question to an agent.

    `history` is oldest first, without what the user left out of the prompt, and ends before `text`.
    `caller` is whose authority every tool call has.
    """

    chat_id: ChatId
    text: str
    caller: Principal
    request_id: str = ""
    history: tuple[PastMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class FleetAnswer:
    """What an upstream said to a tool; `body` is bounded, `json()` raises ValueError when it is no JSON."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:  # noqa: ANN401 - an upstream's JSON has no shape we know
        import msgspec  # noqa: PLC0415 - authors' files import this module; keep it light

        return msgspec.json.decode(self.body)


class FrontDoor(Protocol):
    """The fleet as an agent sees it: through the front door, under the caller's own token and roles."""

    async def call(
        self,
        caller: Principal,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
    ) -> FleetAnswer:
        """Send one request as the caller; 4xx and 5xx answers are returned, not raised.

        Shapes: path starts with "/", as a client of the front door would write it.
        Errors: FrontDoorUnavailable when no answer comes in time.
        """
        ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool is handed besides the model's arguments."""

    turn: Turn
    front_door: FrontDoor

    async def call(
        self, method: str, path: str, *, json: object = None, query: Mapping[str, str] | None = None
    ) -> FleetAnswer:
        """Call a service of the fleet as the person who asked."""
        return await self.front_door.call(self.turn.caller, method, path, json=json, query=query)


type Tool = Callable[..., Awaitable[object]]
"""`async def tool(ctx: ToolContext, order_id: int) -> Order`: types give the schema, the docstring the description."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of a model and tools. `model` is a pydantic-ai model name; None takes `DEFAULT_MODEL`.

    `fallback` answers instead of a model that cannot call tools, so that the agent does real work without one.
    """

    name: str
    description: str
    instructions: str
    tools: Sequence[Tool] = ()
    model: str | None = None
    fallback: Callable[[ToolContext], Awaitable[str]] | None = None


@runtime_checkable
class Responder(Protocol):
    """An agent that answers by its own code. May also have `description: str` and `async def health() -> str | None`
    (None when well, else what is wrong)."""

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


class Agents(Protocol):
    """The desk: who sits there, and what one of them answers."""

    @property
    def default_name(self) -> str: ...

    def cards(self) -> Sequence[AgentCard]: ...

    def card(self, name: str) -> AgentCard:
        """Errors: AgentNotFound."""
        ...

    async def answer(self, name: str, turn: Turn, *, timeout_s: float) -> str:
        """Ask an agent and wait for its whole answer.

        Errors: AgentNotFound, AgentFailed, AgentTimedOut, ModelNotConfigured, ModelUnavailable.
        """
        ...


class AgentNotFound(NotFound):
    type = "agent-not-found"
    title = "There is no agent of this name"


class AgentUnknown(ValidationFailed):
    """A chat was to be given to an agent that does not exist."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        message = f"there is no agent {name!r}; there are: {', '.join(known)}"
        super().__init__("Some fields are not valid.", errors=[FieldError("agent", message)])


class AgentFailed(Broken):
    type = "agent-failed"
    title = "The agent could not answer"


class AgentTimedOut(TimedOut):
    type = "agent-timed-out"
    title = "The agent did not answer in time"


class ModelNotConfigured(Unavailable):
    type = "model-not-configured"
    title = "No language model is configured"


class ModelUnavailable(Unavailable):
    type = "model-unavailable"
    title = "The language model cannot be reached"


class FrontDoorUnavailable(Unavailable):
    type = "front-door-unavailable"
    title = "The front door did not answer the agent"
