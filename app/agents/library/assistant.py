"""The agent a chat gets when it asks for none: the default model, and no tools."""

from app.agents.contract import DEFAULT_AGENT, Agent

agent = Agent(
    name=DEFAULT_AGENT,
    description="Answers questions and keeps the thread of the conversation.",
    instructions="You are a helpful AI assistant.",
)
