"""The next one: a tool of its own, and those of an MCP server. `uvicorn dice:app` in the place of `concise:app`."""

import random
import sys
from pathlib import Path

from app.agents.contract import Risk, ToolContext, tool
from app.embedding import create_agent

HERE = Path(__file__).parent


@tool(risk=Risk.READS)
async def roll(ctx: ToolContext, sides: int = 6) -> int:
    """Roll a die with this many sides."""
    await ctx.show("rolling ...")
    return random.randint(1, sides)  # noqa: S311 nobody bets on it


app = create_agent(
    "You run a game night. Roll dice with your tools; look up the rules before you explain one.",
    tools=[roll],
    mcp_servers={"rules": {"command": sys.executable, "args": [str(HERE / "rules_server.py")], "trusted": True}},
    state_dir=Path("state"),
)
