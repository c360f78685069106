from app.agents.library.echo import Echo
from app.agents.turns import Unwritten
from tests.unit.agents.desk import a_desk, a_turn


async def test_echo_says_back_what_was_said() -> None:
    async with a_desk(Echo()) as desk:
        assert (
            await desk.answer("echo", a_turn(" Hello, world "), journal=Unwritten(), timeout_s=10)
        ).text == " Hello, world "
