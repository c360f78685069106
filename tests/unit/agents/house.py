"""A house for tests of tools: notes and memories in memory, and calls as a model makes them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from app.agents.contract import Agent, Asked, Tool, ToolContext, ToolSource, Turn
from app.agents.house import House, Skill
from app.agents.tools.arguments import checked
from app.features.memory.gate import KeptMemories, KeptNotes
from app.kernel.transaction import Tx
from app.kernel.values import Json
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.memory import FakeMemoryStore, FakeNoteStore
from tests.unit.agents.desk import a_turn, an_agent


@asynccontextmanager
async def no_transaction() -> AsyncIterator[Tx]:
    yield object()


@dataclass
class Rooms:
    """`progress` is what whoever follows was told."""

    skills: Mapping[str, Skill] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    memories: FakeMemoryStore = field(default_factory=FakeMemoryStore)
    notes: FakeNoteStore = field(default_factory=FakeNoteStore)
    progress: list[Mapping[str, Json]] = field(default_factory=list)

    @property
    def house(self) -> House:
        notes, memories = KeptNotes(no_transaction, self.notes), KeptMemories(no_transaction, self.memories)
        return House(self.agents, self.skills, notes, memories)

    async def tools(
        self, source: ToolSource, *, turn: Turn | None = None, agent: Agent | None = None
    ) -> dict[str, Tool]:
        asked = Asked(agent or an_agent(), turn or a_turn(), FakeFrontDoor(), self.house)
        return {tool.name: tool for tool in await source.tools(asked)}

    async def call(self, source: ToolSource, name: str, /, *, turn: Turn | None = None, **arguments: Json) -> object:
        """Errors: ValueError of arguments, ToolRefused."""
        turn = turn or a_turn()
        tool = (await self.tools(source, turn=turn))[name]

        async def note(how_far: Mapping[str, Json]) -> None:
            self.progress.append(how_far)

        return await tool.call(ToolContext(turn, FakeFrontDoor(), progress=note), checked(tool, arguments, turn))


def elsewhere(turn: Turn | None = None) -> Turn:
    """The same person in another chat."""
    return replace(turn or a_turn(), chat_id=None, thread="chat:2")
