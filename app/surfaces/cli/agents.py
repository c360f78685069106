"""`portico agents`: who was found, and where."""

from app.agents.factory import AgentFactory


def show() -> int:
    for name, agent in AgentFactory.discover().agents.items():
        print(f"{name:16} {getattr(agent, 'description', '')}")
    return 0
