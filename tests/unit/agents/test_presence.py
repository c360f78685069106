"""What a worker says of agents and servers, read where none of them works."""

from app.agents.house import House, Skill
from app.agents.presence import MCP, NOBODY, Presence, Reception
from app.agents.skills.source import Skills
from app.infra.observability.health import HealthRegistry, NotWell
from tests.fakes.crew import FakeCrew
from tests.unit.agents.desk import a_desk, an_agent


async def test_a_web_process_knows_how_a_workers_mcp_servers_are() -> None:
    crew, health = FakeCrew(), HealthRegistry()

    async def well() -> str:
        return "stdio, 3 tools"

    async def gone() -> str:
        raise NotWell("stdio: it ended")

    health.add(MCP, "well", well)
    health.add(MCP, "gone", gone)
    health.add("agent", "well", gone)
    await health.check_all()
    reception = Reception({}, crew)
    async with a_desk(an_agent()) as desk:
        presence = Presence(desk, crew, "worker-1", "1", health)
        before = reception.trouble_of_server("well")
        await presence._report()

    await reception.look()

    assert before == NOBODY
    assert reception.trouble_of_server("well") is None
    assert reception.trouble_of_server("gone") == "stdio: it ended"
    assert reception.trouble_of_server("unheard of") == NOBODY


async def test_the_skills_an_agent_may_load_are_known_where_it_does_not_work() -> None:
    house = House(skills={name: Skill(name, f"How to {name}", "Do it.") for name in ("cook", "sew")})
    agents = {"all": an_agent(tools=[Skills()]), "one": an_agent(tools=[Skills("sew")]), "none": an_agent()}

    reception = Reception(agents, FakeCrew(), house)

    cards = {card.name: [skill.name for skill in card.skills] for card in reception.cards()}
    assert cards == {"all": ["cook", "sew"], "one": ["sew"], "none": []}
