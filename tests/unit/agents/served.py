"""A desk whose model is asked over HTTP: the real SDK, and a server of ours behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Offer
from app.agents.runner import AgentRunner
from tests.fakes.front_door import FakeFrontDoor
from tests.model_server import ModelServer
from tests.unit.agents.desk import a_desk, an_agent, models_of


@asynccontextmanager
async def a_served_desk(
    server: ModelServer, *tools: Offer, name: str = "m", door: FakeFrontDoor | None = None
) -> AsyncIterator[AgentRunner]:
    async with a_desk(
        an_agent(tools=tools), models=models_of(lambda _: model_of(server, name)), front_door=door
    ) as desk:
        await desk.prepare()
        yield desk


def model_of(server: ModelServer, name: str = "m") -> OpenAIChatModel:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))
