"""A gateway whose agents hand work to one another, and whose models are asked over HTTP: each by its agent's name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
from dishka import Provider, Scope
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Agent, ToolSource
from app.agents.factory import AgentFactory
from app.agents.llm.models import Models
from app.agents.skills.source import Skills
from app.agents.tools.delegation import Delegation
from app.agents.tools.memory import Memory
from app.agents.tools.todo import Todo
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.model_server import Call, ModelServer, Part, Request
from tests.unit.agents.desk import no_local_model

BUDGETS = {"frugal": {"requests": 5}}

type Says = Callable[[Request], Sequence[Part]]


def handing_on(*agents: str, **arguments: Any) -> list[Part]:  # Any: of the tool's arguments
    return [Call("run_agent", {"agent": agent, "prompt": f"part {n}", **arguments}) for n, agent in enumerate(agents)]


def results_in(request: Request) -> list[str]:
    """Give what tools gave in this turn."""
    messages = request.body["messages"]
    return [str(message["content"]) for message in messages if message["role"] == "tool"]


def by_agent(**says: Says | Sequence[Part]) -> Says:
    """Answer as the agent's part says; one that is a list is what it asks first, then it tells what it was given."""

    def answer(request: Request) -> Sequence[Part]:
        says_now = says[request.body["model"]]
        if callable(says_now):
            return says_now(request)
        given = results_in(request)
        return ["; ".join(given)] if given else says_now

    return answer


@contextmanager
def a_family(
    server: ModelServer, dsn: str, folder: Path, *overrides: Provider, **settings: Any
) -> Iterator[httpx.Client]:
    """Four agents, each may hand work to all; the frugal one has a budget. Any: settings."""

    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))

    tools: list[ToolSource] = [Delegation(), Skills(), Todo(), Memory()]
    agents = {
        name: Agent(name=name, description=f"Is the {name}.", instructions="Be brief.", tools=tools, model=name)
        for name in ("lead", "frugal", "middle", "leaf")
    }
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: AgentFactory(MappingProxyType(agents)), provides=AgentFactory)
    provider.provide(lambda: Models("lead", no_local_model(), make=make), provides=Models)
    with (
        running_gateway(some_settings(folder, dsn=dsn, budget_agents=BUDGETS, **settings), provider, *overrides) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def of_type(events: Sequence[Mapping[str, Any]], type_: str) -> list[Mapping[str, Any]]:
    return [event["data"] for event in events if event["type"] == type_]
