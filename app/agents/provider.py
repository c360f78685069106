"""Wires the assistant half: which agents there are, which models, and the desk they sit at.

Rule: nothing is imported or started here that takes time. `AgentRunner.prepare` imports the model library;
`LocalModel.watch`, in the program's task group, keeps the local model's child alive.
"""

from collections.abc import AsyncIterator

from dishka import Provider, Scope, provide

from app.agents.contract import Agents, FrontDoor
from app.agents.factory import AgentFactory
from app.agents.llm.local_model import LocalModel
from app.agents.llm.models import Models
from app.agents.runner import AgentRunner
from app.settings import Settings


class AgentsProvider(Provider):
    """Needs `Settings` and a `FrontDoor` from elsewhere."""

    scope = Scope.APP

    @provide
    def agent_factory(self) -> AgentFactory:
        return AgentFactory.discover()

    @provide
    async def local_model(self, settings: Settings) -> AsyncIterator[LocalModel]:
        local = LocalModel(settings.data_dir / "local-model", gguf=settings.local_model_gguf)
        yield local
        await local.stop()

    @provide
    def models(self, settings: Settings, local: LocalModel) -> Models:
        return Models(settings.default_model, local, gguf=settings.local_model_gguf)

    @provide
    async def runner(self, factory: AgentFactory, models: Models, front_door: FrontDoor) -> AsyncIterator[AgentRunner]:
        runner = AgentRunner(factory.agents, models=models, front_door=front_door)
        yield runner
        await runner.aclose()

    @provide
    def agents(self, runner: AgentRunner) -> Agents:
        return runner
