"""What is known of the agents where none of them works: their names from here, their health from the workers.

A worker tells the crew how its agents are (`Presence`); a process that only answers requests reads it (`Reception`), so
it never loads a model library.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import structlog

from app.agents.contract import (
    DEFAULT_AGENT,
    Agent,
    AgentCard,
    AgentDirectory,
    AgentNotFound,
    Responder,
    ToolSource,
    name_of,
)
from app.agents.house import House
from app.agents.sandbox.ports import CODE_TOOLS
from app.agents.skills.source import Skills
from app.infra.durable.ports import Crew, Present
from app.infra.observability.health import Dependency, HealthRegistry, Wellness
from app.kernel.errors import Unavailable
from app.kernel.values import Json

REPORT_S = 5.0
GOODBYE_S = 2.0
WELL = "ok"
MCP = "mcp"
"""the type of an MCP server in `service_health`"""
SANDBOX = "sandbox"
"""the type there, and the name, of what runs the programs of agents"""
NOBODY = "no worker is there to ask this agent: start `portico serve --role worker`"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker's side. `keep` runs in the background, and says goodbye when it is cancelled."""

    directory: AgentDirectory
    crew: Crew
    name: str
    version: str
    health: HealthRegistry
    every_s: float = REPORT_S

    async def keep(self) -> None:
        try:
            while True:
                await self._report()
                await asyncio.sleep(self.every_s)
        finally:
            with anyio.move_on_after(GOODBYE_S, shield=True):
                await self._leave()

    async def _report(self) -> None:
        cards = self.directory.cards()
        report: Json = {
            "agents": {card.name: None if card.is_healthy else card.health for card in cards},
            "notes": {card.name: card.health for card in cards if card.is_healthy and card.health != WELL},
            "mcp": {one.name: _trouble(one) for one in self.health.all if one.type == MCP},
            "sandbox": {one.name: _trouble(one) for one in self.health.all if one.type == SANDBOX},
            "sandbox_words": {one.name: one.details for one in self.health.all if one.type == SANDBOX},
        }
        try:
            await self.crew.report(self.name, version=self.version, report=report)
        except Unavailable as away:
            log.warning("worker.not_reported", **away.evidence)

    async def _leave(self) -> None:
        try:
            await self.crew.leave(self.name)
        except Unavailable:
            return


@dataclass(slots=True)
class Reception:
    """Implements `AgentDirectory` where no agent works. An agent is as the worker that reported last found it."""

    agents: Mapping[str, Agent | Responder]
    crew: Crew
    house: House = field(default_factory=House)
    workers: Sequence[Present] = ()
    _troubles: dict[str, str | None] = field(default_factory=dict)
    _notes: dict[str, str] = field(default_factory=dict)
    _of_servers: dict[str, str | None] = field(default_factory=dict)
    sandbox_trouble: str | None = NOBODY
    sandbox_words: str = ""

    @property
    def default_name(self) -> str:
        return default_of(self.agents)

    def cards(self) -> Sequence[AgentCard]:
        return [self.card(name) for name in self.agents]

    def card(self, name: str) -> AgentCard:
        if name not in self.agents:
            raise AgentNotFound(f"There is no agent of this name; there are: {', '.join(self.agents)}.")
        trouble, note = self._troubles.get(name, NOBODY), self._notes.get(name, "")
        return card_of(name, self.agents[name], trouble, note, self.house)

    async def look(self) -> None:
        """Read what the workers say. Errors: StorageUnavailable."""
        self.workers = await self.crew.present()
        report = self.workers[0].report if self.workers else {}
        self._troubles, self._of_servers = _troubles(report, "agents"), _troubles(report, MCP)
        self._notes = _notes(report, "notes")
        self.sandbox_trouble = _troubles(report, SANDBOX).get(SANDBOX, NOBODY)
        self.sandbox_words = _notes(report, "sandbox_words").get(SANDBOX, "")

    def trouble_of_server(self, name: str) -> str | None:
        """Tell what is wrong with an MCP server, as the worker that reported last found it."""
        return self._of_servers.get(name, NOBODY)


def default_of(agents: Mapping[str, Agent | Responder]) -> str:
    return DEFAULT_AGENT if DEFAULT_AGENT in agents else next(iter(agents))


def card_of(name: str, member: Agent | Responder, trouble: str | None, note: str, house: House) -> AgentCard:
    """Write an agent's card; `trouble` is None where it is well, `note` is then what there is to know all the same."""
    tools = member.tools if isinstance(member, Agent) else ()
    named = [name_of(tool) for tool in tools if not isinstance(tool, ToolSource)]
    if isinstance(member, Agent) and member.code_execution:
        named += [tool for tool in CODE_TOOLS if tool not in named]
    skills = {name: skill for tool in tools if isinstance(tool, Skills) for name, skill in tool.of(house).items()}
    return AgentCard(
        name=name,
        description=getattr(member, "description", ""),
        is_healthy=trouble is None,
        health=trouble or note or WELL,
        tools=tuple(named),
        skills=tuple(skills.values()),
    )


def _notes(report: Json, of: str) -> dict[str, str]:
    match report:
        case {**parts} if isinstance(found := parts.get(of), Mapping):
            return {str(name): str(note) for name, note in found.items()}
    return {}


def _troubles(report: Json, of: str) -> dict[str, str | None]:
    """Read a report as this version or another has written it."""
    match report:
        case {**parts} if isinstance(found := parts.get(of), Mapping):
            return {str(name): None if trouble is None else str(trouble) for name, trouble in found.items()}
    return {}


def _trouble(dependency: Dependency) -> str | None:
    return None if dependency.status is Wellness.OK else dependency.details or "has not been looked at yet"
