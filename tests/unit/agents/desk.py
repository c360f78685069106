"""Builders for the tests of the desk: a turn, and a runner with scripted models."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from app.agents.contract import Agent, PastMessage, Responder, ToolSource, Turn
from app.agents.front_door import FrontDoor
from app.agents.llm.local_model import LocalModel
from app.agents.llm.models import Models
from app.agents.llm.scripted import ScriptedModel
from app.agents.runner import AgentRunner
from app.agents.tools.interceptors import UNGUARDED, Interceptors
from app.kernel.identity import Access, Principal
from app.kernel.ids import ChatId, UserId
from tests.fakes.front_door import FakeFrontDoor


def a_caller(user_id: str = "7") -> Principal:
    return Principal(UserId(user_id), "user", frozenset({Access.COMMON}), expires_at=2**31, credential="token")


def a_turn(text: str = "Hello", *, history: Iterable[PastMessage] = (), caller: Principal | None = None) -> Turn:
    return Turn(ChatId(1), text, caller or a_caller(), request_id="r-1", history=tuple(history))


def an_exchange(question: str, answer: str) -> tuple[PastMessage, PastMessage]:
    return PastMessage("user", question), PastMessage("assistant", answer)


def an_agent(name: str = "helper", **fields: object) -> Agent:
    return Agent(name=name, description="Helps.", instructions="Help.", **fields)  # type: ignore[arg-type] # as given


def no_local_model() -> LocalModel:
    return LocalModel(Path("/nonexistent"))


def models_of(make: Callable[[str], object] | object, *, default: str = "scripted") -> Models:
    maker = make if callable(make) and not isinstance(make, ScriptedModel) else lambda _: make
    return Models(default, no_local_model(), make=maker)


@asynccontextmanager
async def a_desk(
    *agents: Agent | Responder,
    model: object = None,
    front_door: FrontDoor | None = None,
    models: Models | None = None,
    interceptors: Interceptors = UNGUARDED,
    sources: Sequence[ToolSource] = (),
) -> AsyncIterator[AgentRunner]:
    runner = AgentRunner(
        {agent.name: agent for agent in agents},
        models=models or models_of(model or ScriptedModel()),
        front_door=front_door or FakeFrontDoor(),
        interceptors=interceptors,
        sources=sources,
    )
    yield runner
    await runner.aclose()
