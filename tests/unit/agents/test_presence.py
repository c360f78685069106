"""What a worker says of agents and servers, read where none of them works."""

from app.agents.presence import MCP, NOBODY, Presence, Reception
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
