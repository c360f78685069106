"""`portico agents`: who was found, and where."""

import os
from pathlib import Path

from app.agents.factory import AgentFactory
from app.settings import load_dotenv


def show() -> int:
    load_dotenv()
    folder = os.environ.get("AGENTS_DIR")
    for name, agent in AgentFactory.discover(folder=Path(folder) if folder else None).agents.items():
        print(f"{name:16} {getattr(agent, 'description', '')}")
    return 0
