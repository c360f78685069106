"""Wires the assistant half: which agents there are, which models, and the desk they sit at.

Rule: nothing is imported or started here that takes time. `AgentRunner.prepare` imports the model library;
`LocalModel.watch`, in the program's task group, keeps the local model's child alive.
"""

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from dishka import AnyOf, Provider, Scope, provide

from app.agents.contract import Agent, AgentBroken, AgentDirectory, Agents, ModelMisconfigured
from app.agents.factory import AgentFactory
from app.agents.front_door import Credentials, FrontDoor
from app.agents.house import House, Memories, Notes
from app.agents.llm.local_model import LocalModel
from app.agents.llm.models import Models, check_model
from app.agents.mcp_client.server import Server
from app.agents.mcp_client.servers import McpServers
from app.agents.mcp_client.source import McpTools
from app.agents.presence import MCP, REPORT_S, SANDBOX, Presence, Reception
from app.agents.runner import AgentRunner
from app.agents.sandbox.folders import WorkFolders
from app.agents.sandbox.making import make_sandbox
from app.agents.sandbox.ports import MEGABYTE, Limits
from app.agents.sandbox.sandbox import Sandbox
from app.agents.sandbox.tools import CodeExecution
from app.agents.skills.catalogue import SHIPPED, Catalogue, SkillBroken
from app.agents.titling import titler
from app.agents.tools.interceptors import Interceptors
from app.agents.tools.reading import writing_offers
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ports import Crew
from app.infra.observability.background import Background, every
from app.infra.observability.health import INTERVAL_S, Check, HealthRegistry, NotWell
from app.mcp_rows import McpServerRow
from app.setting_types import WidgetRow
from app.settings import ConfigProblem, GatewayFile, Settings


class FoundAgents(Provider):
    scope = Scope.APP

    @provide
    def agent_factory(self, settings: Settings) -> AgentFactory:
        return AgentFactory.discover(folder=settings.agents_dir)

    @provide
    def skills(self, factory: AgentFactory, settings: Settings) -> Catalogue:
        catalogue = load_skills(settings.skills_dir)
        catalogue.check(list(factory.agents))
        return catalogue


class AgentsElsewhere(FoundAgents):
    """Where requests are answered and other processes work on runs: who sits at the desk, and nobody to ask there."""

    @provide
    def reception(
        self,
        factory: AgentFactory,
        catalogue: Catalogue,
        crew: Crew,
        health: HealthRegistry,
        background: Background,
        settings: Settings,
    ) -> AgentDirectory:
        reception = Reception(factory.agents, crew, House(skills=catalogue.skills))
        health.add("worker", "runs", _present(reception))
        for name in factory.agents:
            health.add("agent", name, _check(reception, name))
        for name, row in settings.gateway.mcp_servers.items():
            if not row.disabled:
                health.add(MCP, name, _told(reception, name))
        health.add(SANDBOX, SANDBOX, _sandbox_told(reception))
        background.add("reception", every(REPORT_S, reception.look))
        return reception


class AgentsProvider(FoundAgents):
    """Where runs are worked on.

    Needs `Settings`, a `Crew`, `WorkerOptions`, `Interceptors`, `Notes`, `Memories` and a `FrontDoor` from elsewhere.
    """

    @provide
    def presence(
        self,
        directory: AgentDirectory,
        crew: Crew,
        options: WorkerOptions,
        health: HealthRegistry,
        background: Background,
    ) -> Presence:
        presence = Presence(directory, crew, options.name, options.version, health)
        background.add("presence", presence.keep)
        return presence

    @provide
    async def local_model(self, settings: Settings) -> AsyncIterator[LocalModel]:
        local = LocalModel(settings.data_dir / "local-model", gguf=settings.local_model_gguf)
        yield local
        await local.stop()

    @provide
    def models(self, settings: Settings, local: LocalModel) -> Models:
        return Models(settings.default_model, local, gguf=settings.local_model_gguf)

    @provide
    def mcp_servers(
        self, settings: Settings, run_tokens: Credentials, health: HealthRegistry, background: Background
    ) -> McpServers:
        rows = settings.gateway.mcp_servers.items()
        servers = McpServers((Server(name, row, dict(os.environ)) for name, row in rows), run_tokens=run_tokens)
        for name in servers.names:
            health.add(MCP, name, partial(servers.health, name))
        if servers.names:
            background.add("mcp servers", servers.keep)
        return servers

    @provide
    def sandbox(
        self, settings: Settings, factory: AgentFactory, health: HealthRegistry, background: Background
    ) -> Sandbox:
        limits = Limits(
            wall_s=settings.sandbox_timeout_s,
            memory_bytes=settings.sandbox_memory_mb * MEGABYTE,
            files_bytes=settings.sandbox_files_mb * MEGABYTE,
        )
        sandbox = make_sandbox(
            settings.sandbox,
            python=settings.sandbox_python,
            image=settings.sandbox_image,
            runtime=settings.sandbox_runtime,
            limits=limits,
            places=settings.sandbox_places,
            is_wanted=any(isinstance(one, Agent) and one.code_execution for one in factory.agents.values()),
        )
        health.add(SANDBOX, SANDBOX, sandbox.health)
        background.add("sandbox", sandbox.keep)
        return sandbox

    @provide
    def work_folders(self, settings: Settings, sandbox: Sandbox, background: Background) -> WorkFolders:
        folders = WorkFolders(
            settings.data_dir / "sandbox",
            sandbox.limits,
            most=settings.sandbox_folders,
            keep=timedelta(days=settings.sandbox_retention_days),
        )
        background.add("work folders", folders.forget_now_and_then)
        return folders

    @provide
    def house(
        self, factory: AgentFactory, catalogue: Catalogue, notes: Notes, memories: Memories, settings: Settings
    ) -> House:
        about = {name: getattr(member, "description", "") for name, member in factory.agents.items()}
        return House(about, catalogue.skills, notes, memories, settings.delegation_depth)

    @provide
    async def runner(
        self,
        factory: AgentFactory,
        models: Models,
        local: LocalModel,
        front_door: FrontDoor,
        servers: McpServers,
        sandbox: Sandbox,
        folders: WorkFolders,
        health: HealthRegistry,
        background: Background,
        interceptors: Interceptors,
        house: House,
        settings: Settings,
    ) -> AsyncIterator[AgentRunner]:
        runner = AgentRunner(
            factory.agents,
            models=models,
            front_door=front_door,
            interceptors=interceptors,
            sources=(McpTools(servers), CodeExecution(sandbox, folders)),
            house=house,
            unlisted=[titler(settings.title_model)] if settings.title_model else [],
        )
        _watch_agents(health, runner)
        background.add("agents", partial(_prepare_agents, runner, health))
        background.add("agents health", every(INTERVAL_S, runner.check_health))
        if runner.uses_local_model:
            background.add("local model", local.watch)
        yield runner
        await runner.aclose()

    @provide
    def agents(self, runner: AgentRunner) -> AnyOf[Agents, AgentDirectory]:
        return runner


def agent_flaws(default_model: str, gguf: Path | None, *, folder: Path | None = None) -> Iterable[ConfigProblem]:
    """Tell what would keep the agents from starting: a broken or duplicate file, a model that cannot be used."""
    models = {("environment", "DEFAULT_MODEL"): default_model}
    try:
        agents = AgentFactory.discover(folder=folder).agents.values()
    except AgentBroken as broken:
        yield ConfigProblem("agents", type(broken).__name__, str(broken))
    else:
        models |= {("agents", agent.name): agent.model or "" for agent in agents if isinstance(agent, Agent)}
    for (where, key), name in models.items():
        try:
            check_model(name, gguf=gguf)
        except ModelMisconfigured as wrong:
            yield ConfigProblem(where, key, str(wrong))


def title_flaws(model: str, gguf: Path | None) -> Iterable[ConfigProblem]:
    """Tell what would keep titles from being made: a model that cannot be used."""
    try:
        check_model(model, gguf=gguf)
    except ModelMisconfigured as wrong:
        yield ConfigProblem("environment", "TITLE_MODEL", str(wrong))


def load_skills(folder: Path | None) -> Catalogue:
    """Read the skills that are shipped and those of a folder. Errors: SkillBroken."""
    return Catalogue.load(SHIPPED, *(() if folder is None else (folder,)))


def skill_flaws(folder: Path | None, *, gguf: Path | None, agents: Path | None = None) -> Iterable[ConfigProblem]:
    """Tell what would keep the skills from being used: a broken or duplicate file, an agent or a model that is not."""
    try:
        catalogue = load_skills(folder)
        catalogue.check(_known_agents(agents) or [skill.agent or "" for skill in catalogue.skills.values()])
    except SkillBroken as broken:
        yield ConfigProblem("skills", type(broken).__name__, str(broken))
        return
    for skill in catalogue.skills.values():
        if skill.model is not None:
            try:
                check_model(skill.model, gguf=gguf)
            except ModelMisconfigured as wrong:
                yield ConfigProblem("skills", skill.name, str(wrong))


def _known_agents(folder: Path | None) -> list[str]:
    """Name the agents; none where one is broken, which is told elsewhere."""
    with suppress(AgentBroken):
        return list(AgentFactory.discover(folder=folder).agents)
    return []


def mcp_flaws(servers: Mapping[str, McpServerRow], *, folder: Path | None = None) -> Iterable[ConfigProblem]:
    """Tell what would keep agents from their MCP servers: a name nobody knows, a library that is not installed."""
    with suppress(AgentBroken):  # that is told elsewhere
        for agent in AgentFactory.discover(folder=folder).agents.values():
            named = agent.mcp_servers if isinstance(agent, Agent) else ()
            for name in sorted(set(named) - set(servers)):
                mend = f"write [mcp_servers.{name}] in gateway.toml, or put it into the file of MCP_CONFIG"
                yield ConfigProblem("agents", agent.name, f"there is no MCP server {name}", mend)
    if any(not row.disabled for row in servers.values()) and find_spec("mcp") is None:
        mend = "install portico-gateway[mcp]"
        yield ConfigProblem("gateway.toml", "mcp_servers", "needs a library that is not installed", mend)


def row_flaws(file: GatewayFile, *, folder: Path | None = None) -> Iterable[ConfigProblem]:
    """Tell what is wrong with the rows of `gateway.toml` that are about agents."""
    yield from mcp_flaws(file.mcp_servers, folder=folder)
    yield from widget_flaws(file.widgets, folder=folder)


def widget_flaws(widgets: Sequence[WidgetRow], *, folder: Path | None = None) -> Iterable[ConfigProblem]:
    """Tell which chats for visitors cannot be opened: of an agent that is not there, or may change something."""
    with suppress(AgentBroken):  # that is told elsewhere
        agents = AgentFactory.discover(folder=folder).agents if widgets else {}
        for number, row in enumerate(widgets):
            where = f"widgets.{row.name}"
            if row.name in {one.name for one in widgets[:number]}:
                yield ConfigProblem("gateway.toml", where, "stands there twice", "rename one of them")
            if row.agent not in agents:
                mend = f"name one of {', '.join(agents)}"
                yield ConfigProblem("gateway.toml", where, f"there is no agent {row.agent}", mend)
                continue
            writing = list(writing_offers(agents[row.agent]))
            if writing:
                words = f"the agent {row.agent} is offered what may change something: {', '.join(writing)}"
                mend = "give visitors an agent whose tools are all marked @tool(risk=Risk.READS), and no MCP server"
                yield ConfigProblem("gateway.toml", where, words, mend)


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


def _present(reception: Reception) -> Check:
    async def check() -> str:
        if not reception.workers:
            raise NotWell("no worker works on runs: start `portico serve --role worker`")
        return f"{len(reception.workers)} work on runs"

    return check


def _told(reception: Reception, name: str) -> Check:
    async def check() -> str:
        trouble = reception.trouble_of_server(name)
        if trouble is not None:
            raise NotWell(trouble)
        return "a worker is connected"

    return check


def _sandbox_told(reception: Reception) -> Check:
    async def check() -> str:
        if reception.sandbox_trouble is not None:
            raise NotWell(reception.sandbox_trouble)
        return reception.sandbox_words

    return check


def _check(directory: AgentDirectory, name: str) -> Check:
    async def check() -> str:
        card = directory.card(name)
        if not card.is_healthy:
            raise NotWell(card.health)
        return card.health

    return check
