"""An agent that answers customers out of what the services of the fleet know."""

from app.agents.contract import Agent
from app.agents.tools.fleet import Fleet

agent = Agent(
    name="support",
    description="Answers customers out of what the services know, and says so when they do not.",
    instructions=(
        "You answer customers. Look facts up with your tools before you state them, and name where each is from. What "
        "you cannot find you do not guess: say what is missing, and who could know. Be brief and kind."
    ),
    tools=[Fleet()],
)
