"""The agent a chat gets when it asks for none: the default model, and whatever services its user may use."""

from app.agents.contract import DEFAULT_AGENT, Agent
from app.agents.tools.fleet import Fleet

agent = Agent(
    name=DEFAULT_AGENT,
    description="Answers questions and keeps the thread of the conversation.",
    instructions="You are a helpful AI assistant.",
    tools=[Fleet()],
)
