"""Who sits at the desk: the agents a chat can be given to."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import PathParameter

from app.agents.contract import AgentCard, AgentDirectory, AgentNotFound
from app.agents.factory import NAME
from app.kernel.identity import Principal

Who = NamedDependency[Principal]
# described, not enforced: of another shape there is no agent either
AgentName = Annotated[str, PathParameter(schema_extra={"pattern": f"^{NAME.pattern}$"})]


class SkillView(msgspec.Struct, frozen=True):
    name: str
    description: str


class AgentView(msgspec.Struct, frozen=True):
    """`health` is "ok" or what is wrong, in words; `skills` are those it may load."""

    name: str
    description: str
    health: str
    tools: Sequence[str]
    skills: Sequence[SkillView]


class AgentList(msgspec.Struct, frozen=True):
    items: Sequence[AgentView]
    total: int
    limit: int
    offset: int


class AgentsController(Controller):
    path = "/api/v1/agents"
    tags = ("agents",)

    @get("/")
    @inject
    async def list_agents(self, principal: Who, agents: FromDishka[AgentDirectory]) -> AgentList:
        del principal
        views = [_view(card) for card in agents.cards()]
        return AgentList(items=views, total=len(views), limit=len(views), offset=0)

    @get("/{name:str}", opt={"faults": (AgentNotFound,)})
    @inject
    async def get_agent(self, principal: Who, name: AgentName, agents: FromDishka[AgentDirectory]) -> AgentView:
        del principal
        return _view(agents.card(name))


def _view(card: AgentCard) -> AgentView:
    skills = [SkillView(skill.name, skill.description) for skill in card.skills]
    return AgentView(card.name, card.description, card.health, card.tools, skills)
