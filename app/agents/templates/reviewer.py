"""An agent that reads a text and tells what is wrong with it; it has no tools, so it changes nothing."""

from app.agents.contract import Agent

agent = Agent(
    name="reviewer",
    description="Reads a text, and lists what is wrong, unclear or missing, worst first.",
    instructions=(
        "You review texts, plans and code. List what is wrong, what is unclear and what is missing, the worst first, "
        "each with the place it is about and one sentence on how to mend it. Praise nothing; say when there is nothing."
    ),
)
