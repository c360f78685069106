"""The smallest one: an agent that is nothing but its instructions. `uvicorn concise:app`, then see README.md."""

from pathlib import Path

from app.embedding import create_agent

app = create_agent("You are a concise assistant.", state_dir=Path("state"))
