"""The assistant half, wired as the program wires it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dishka import AsyncContainer, Provider, Scope, make_async_container

from app.agents import provider
from app.agents.contract import AgentBroken, Agents
from app.agents.factory import AgentFactory
from app.agents.front_door import Credentials, FrontDoor
from app.agents.house import Memories, Notes
from app.agents.provider import AgentsProvider, agent_flaws, mcp_flaws, title_flaws
from app.agents.runner import AgentRunner
from app.agents.tools.interceptors import UNGUARDED, Interceptors
from app.agents.turns import Unwritten
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ports import Crew
from app.infra.observability.background import Background
from app.infra.observability.health import HealthRegistry
from app.mcp_rows import McpServerRow
from app.settings import Settings
from tests.fakes.crew import FakeCrew
from tests.fakes.front_door import FakeFrontDoor
from tests.unit.agents.desk import a_turn, an_agent
from tests.unit.agents.house import Rooms
from tests.unit.agents.mcp_client.rig import RunTokens


@pytest.fixture
async def container(tmp_path: Path) -> AsyncIterator[AsyncContainer]:
    settings = Settings(jwt_jwks_url="http://127.0.0.1:1/jwks", default_model="scripted", data_dir=tmp_path)
    rest = Provider(scope=Scope.APP)
    rest.provide(lambda: settings, provides=Settings)
    rest.provide(lambda: FakeFrontDoor(), provides=FrontDoor)  # noqa: PLW0108 - its fields are no dependencies
    rest.provide(RunTokens, provides=Credentials)
    rest.provide(lambda: FakeCrew(), provides=Crew)  # noqa: PLW0108 - the same
    rest.provide(lambda: WorkerOptions("worker-1"), provides=WorkerOptions)
    rest.provide(lambda: UNGUARDED, provides=Interceptors)
    rest.provide(lambda: Background(), provides=Background)  # noqa: PLW0108 - its fields are no dependencies
    rest.provide(lambda: HealthRegistry(), provides=HealthRegistry)  # noqa: PLW0108 - the same
    rooms = Rooms()
    rest.provide(lambda: rooms.house.notes, provides=Notes)
    rest.provide(lambda: rooms.house.memories, provides=Memories)
    container = make_async_container(AgentsProvider(), rest)
    yield container
    await container.close()


async def test_the_shipped_agents_answer(container: AsyncContainer) -> None:
    runner = await container.get(AgentRunner)
    await runner.prepare()
    agents = await container.get(Agents)

    answer = (await agents.answer(agents.default_name, a_turn("Hello"), journal=Unwritten(), timeout_s=10)).text

    assert agents is runner
    assert answer == "You said: Hello (turn 1)"
    assert [(card.name, card.is_healthy) for card in agents.cards()] == [
        ("agenda", True),
        ("assistant", True),
        ("coordinator", True),
        ("echo", True),
    ]


@pytest.mark.parametrize(
    ("default", "keys"),
    [("scripted", []), ("", []), ("gpt-4o", ["DEFAULT_MODEL"])],
    ids=["usable", "none", "misspelt"],
)
def test_a_default_that_cannot_be_used_is_a_flaw_of_the_configuration(default: str, keys: list[str]) -> None:
    settings = Settings(jwt_jwks_url="http://127.0.0.1:1/jwks", default_model=default)

    assert [flaw.key for flaw in agent_flaws(settings.default_model, None)] == keys


def test_a_model_an_agent_names_for_itself_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    factory = AgentFactory({"bad": an_agent("bad", model="nobody:model")})
    monkeypatch.setattr(AgentFactory, "discover", lambda **_: factory)

    flaws = list(agent_flaws("scripted", None))

    assert [(flaw.where, flaw.key) for flaw in flaws] == [("agents", "bad")]


def test_a_broken_agent_is_a_flaw_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> AgentFactory:
        raise AgentBroken("some.py", "line 3: NameError")

    monkeypatch.setattr(AgentFactory, "discover", broken)

    flaws = list(agent_flaws("scripted", None))

    assert [flaw.message for flaw in flaws] == ["some.py: line 3: NameError"]


def test_an_agent_that_names_an_mcp_server_nobody_knows_is_a_flaw(monkeypatch: pytest.MonkeyPatch) -> None:
    factory = AgentFactory({"one": an_agent("one", mcp_servers=["here", "nowhere"])})
    monkeypatch.setattr(AgentFactory, "discover", lambda **_: factory)

    flaws = list(mcp_flaws({"here": McpServerRow(command="a")}))

    mend = "write [mcp_servers.nowhere] in gateway.toml, or put it into the file of MCP_CONFIG"
    assert [str(flaw) for flaw in flaws] == [f"agents: one: there is no MCP server nowhere; {mend}"]


def test_mcp_servers_without_the_library_are_a_flaw_unless_they_are_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "find_spec", lambda _: None)

    flaws = list(mcp_flaws({"here": McpServerRow(command="a")}))

    assert [flaw.mend for flaw in flaws] == ["install portico-gateway[mcp]"]
    assert list(mcp_flaws({"here": McpServerRow(command="a", disabled=True)})) == []


def test_a_model_for_titles_that_cannot_be_used_is_told_with_its_setting() -> None:
    (flaw,) = title_flaws("nobody:knows", None)

    assert (flaw.where, flaw.key) == ("environment", "TITLE_MODEL")
    assert list(title_flaws("", None)) == list(title_flaws("scripted", None)) == []
