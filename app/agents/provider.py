"""Wires the assistant half: which agents there are, which models, and the desk they sit at.

Rule: nothing is imported or started here that takes time. `AgentRunner.prepare` imports the model library;
`LocalModel.watch`, in the program's task group, keeps the local model's child alive.
"""

from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

from dishka import Provider, Scope, provide

from app.agents.contract import Agent, AgentBroken, Agents, FrontDoor, ModelMisconfigured
from app.agents.factory import AgentFactory
from app.agents.llm.local_model import LocalModel
from app.agents.llm.models import Models, check_model
from app.agents.runner import AgentRunner
from app.infra.observability.background import Background, every
from app.infra.observability.health import INTERVAL_S, Check, HealthRegistry, NotWell
from app.settings import ConfigProblem, Settings


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
    async def runner(
        self,
        factory: AgentFactory,
        models: Models,
        local: LocalModel,
        front_door: FrontDoor,
        health: HealthRegistry,
        background: Background,
    ) -> AsyncIterator[AgentRunner]:
        runner = AgentRunner(factory.agents, models=models, front_door=front_door)
        _watch_agents(health, runner)
        background.add("agents", partial(_prepare_agents, runner, health))
        background.add("agents health", every(INTERVAL_S, runner.check_health))
        if runner.uses_local_model:
            background.add("local model", local.watch)
        yield runner
        await runner.aclose()

    @provide
    def agents(self, runner: AgentRunner) -> Agents:
        return runner


def agent_flaws(default_model: str, gguf: Path | None) -> Iterable[ConfigProblem]:
    """Tell what would keep the agents from starting: a broken or duplicate file, a model that cannot be used."""
    models = {("environment", "DEFAULT_MODEL"): default_model}
    try:
        agents = AgentFactory.discover().agents.values()
    except AgentBroken as broken:
        yield ConfigProblem("agents", type(broken).__name__, str(broken))
    else:
        models |= {("agents", agent.name): agent.model or "" for agent in agents if isinstance(agent, Agent)}
    for (where, key), name in models.items():
        try:
            check_model(name, gguf=gguf)
        except ModelMisconfigured as wrong:
            yield ConfigProblem(where, key, str(wrong))


def _watch_agents(health: HealthRegistry, runner: AgentRunner) -> None:
    """Register each agent's health, and whether the model library is loaded, without which no traffic should come.

    No agent is required: the edge and the chats work without it.
    """
    health.add("agents", "models", _prepared(runner), is_required=True)
    for card in runner.cards():
        health.add("agent", card.name, _check(runner, card.name))


async def _prepare_agents(runner: AgentRunner, health: HealthRegistry) -> None:
    """Load the model library, and look at everything at once: readiness has waited long enough."""
    await runner.prepare()
    await health.check_all()


def _prepared(runner: AgentRunner) -> Check:
    async def check() -> str:
        if not runner.is_prepared:
            raise NotWell("the model library is being loaded")
        return "the model library is loaded"

    return check


def _check(runner: AgentRunner, name: str) -> Check:
    async def check() -> str:
        card = runner.card(name)
        if not card.is_healthy:
            raise NotWell(card.health)
        return card.health

    return check
