"""Says back what was said: for checks of everything around an agent, without a model."""

from app.agents.contract import Turn


class Echo:
    name = "echo"
    description = "Returns your message unchanged."

    async def generate(self, turn: Turn) -> str:
        return turn.text
